"""Nested rows, an example's own candidates and questions: from files to examples."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from sources import data_of, run_of, task_of

from pet_cli.commands.predict import read_inputs
from pet_cli.config.schema import DataConfig, TaskConfig
from pet_cli.data.load import load
from pet_cli.errors import UserError
from pet_cli.tasks.readers import check, flat
from pet_cli.tasks.targets import candidate_of

PASSAGE = {
    "idx": 4,
    "passage": {
        "text": "Mara sold two jars of honey. The rest she kept.",
        "questions": [
            {
                "idx": 7,
                "question": "What did Mara sell?",
                "answers": [{"text": "honey", "idx": 20, "label": 1}, {"text": "wax", "idx": 21, "label": 0}],
            },
            {"idx": 8, "question": "Who kept the rest?", "answers": [{"text": "She", "idx": 22, "label": 1}]},
        ],
    },
}


def write(path: Path, rows: list[dict[str, Any]]) -> DataConfig:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return data_of(path=str(path.parent))


def multirc() -> TaskConfig:
    return task_of(
        name="multirc",
        fields={"passage": "paragraph", "question": "question", "answer": "answer"},
        labels=["no", "yes"],
        reader="multirc",
        group="idx.paragraph+idx.question",
    )


def test_a_passage_becomes_a_row_for_each_answer(tmp_path: Path) -> None:
    data = write(tmp_path / "test.jsonl", [PASSAGE, {**PASSAGE, "idx": 5}])
    test = load(multirc(), data, ["no", "yes"])["test"]
    assert [example.row for example in test.examples] == list(range(6))
    assert test.rows[1] == {
        "passage": "Mara sold two jars of honey. The rest she kept.",
        "question": "What did Mara sell?",
        "answer": "wax",
    }
    assert test.gold == [1, 0, 1] * 2
    assert test.groups == ["4/7", "4/7", "4/8", "5/7", "5/7", "5/8"]


def test_a_flat_row_passes_and_a_broken_one_is_named() -> None:
    row = {"paragraph": "p", "question": "q", "answer": "a", "idx": {"paragraph": 1, "question": 2, "answer": 3}}
    assert list(flat("multirc", [("here", row)])) == [("here", row)]
    assert list(flat(None, [("here", PASSAGE)])) == [("here", PASSAGE)]
    with pytest.raises(UserError, match=r"file, line 3: not a row that task.reader=multirc reads .*'questions'"):
        list(flat("multirc", [("file, line 3", {"passage": {"text": "p"}})]))
    with pytest.raises(UserError, match=r"task.reader=multirk: not one of multirc. Did you mean 'multirc'"):
        check("multirk")
    check(None)


def test_predict_reads_nested_rows_as_the_data_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = run_of(task=multirc())
    (tmp_path / "new.jsonl").write_text(json.dumps(PASSAGE) + "\n", encoding="utf-8")
    wanted = [("What did Mara sell?", "honey"), ("What did Mara sell?", "wax"), ("Who kept the rest?", "She")]

    def asked(file: str | None) -> list[tuple[str, str]]:
        found = list(read_inputs(config, file, None))
        assert [example.row for example in found] == list(range(len(found)))
        return [(example.fields["question"], example.fields["answer"]) for example in found]

    assert asked(str(tmp_path / "new.jsonl")) == wanted
    flat_row = {"paragraph": "A rope.", "question": "What?", "answer": "A rope."}
    lines = [json.dumps(PASSAGE), json.dumps(flat_row)]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    assert asked(None) == [*wanted, ("What?", "A rope.")]
    monkeypatch.setattr("sys.stdin", io.StringIO('{"passage": 3}'))
    with pytest.raises(UserError, match=r"standard input, line 1: not a row that task.reader=multirc reads"):
        asked(None)


def choosing(candidates: Any) -> TaskConfig:
    return task_of(name="own", fields={"text": "text"}, target="choice", candidates=candidates)


def test_candidates_come_from_columns_or_from_one_that_holds_a_list(tmp_path: Path) -> None:
    rows = [
        {"text": "It rained.", "c1": "Streets dried.", "c2": "Streets got wet.", "label": 1},
        {"text": "It froze.", "c1": "Ponds boiled.", "c2": "Ponds hardened.", "label": "c2"},
        {"text": "It thawed.", "c1": "Snow melted.", "c2": "Snow fell.", "label": "Snow melted."},
    ]
    test = load(choosing(["c1", "c2"]), write(tmp_path / "test.jsonl", rows), [])["test"]
    assert test.gold == [1, 1, 0]
    assert test.examples[0].candidates == ("Streets dried.", "Streets got wet.")
    listed = [{"text": "Who?", "names": ["Ann", "Bo", "Cy"], "label": ["Cy", "Ann"]}]
    test = load(choosing("names"), write(tmp_path / "test.jsonl", listed), [])["test"]
    assert test.gold == [(0, 2)] and test.examples[0].candidates == ("Ann", "Bo", "Cy")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"names": ["Ann", "Bo"], "label": "Cy"}, "line 1: 'Cy' is none of the candidates, which are Ann, Bo"),
        ({"names": ["Ann", "Bo"], "label": 2}, "line 1: 2 is none of the candidates"),
        ({"names": ["Ann"], "label": 0}, "line 1: 1 candidate; a choice needs at least two"),
        ({"names": ["Ann", "Ann "], "label": 0}, "line 1: the candidate 'Ann' stands there twice"),
        ({"names": ["Ann", ""], "label": 0}, "line 1: candidate 2 is empty"),
        ({"label": 0}, "line 1: no column 'names' of task.candidates"),
    ],
)
def test_candidates_that_are_none_are_refused_by_row(row: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        load(choosing("names"), write(tmp_path / "test.jsonl", [{"text": "Who?", **row}]), [])


def test_a_number_is_a_place_only_where_no_candidate_is_a_number() -> None:
    assert candidate_of(["x", "y"])("1") == 1 and candidate_of(["x", "y"])(-1) is None
    assert candidate_of(["3", "1"])("1") == 1 and candidate_of(["3", "1"])(3.0) == 0
    with pytest.raises(UserError, match="none of the candidates"):
        candidate_of(["3", "1"])(0)


def test_numbers_are_read_and_those_outside_the_range_refused_by_row(tmp_path: Path) -> None:
    task = task_of(name="own", fields={"text": "text"}, target="number", range=[1, 5])
    rows = [{"text": "fine", "label": "4.5"}, {"text": "poor", "label": 1}, {"text": "unknown", "label": -1}]
    assert load(task, write(tmp_path / "test.jsonl", rows), ["bad", "good"])["test"].gold == [4.5, 1.0]
    with pytest.raises(UserError, match=r"test.jsonl, line 1: 6 lies outside of task.range=\[1, 5\]"):
        load(task, write(tmp_path / "test.jsonl", [{"text": "fine", "label": 6}]), ["bad", "good"])


def test_several_labels_are_read_from_lists_and_from_divided_text(tmp_path: Path) -> None:
    task = task_of(name="own", fields={"text": "text"}, target="labels", labels=["sun", "rain"])
    rows = [{"text": "t", "label": ["Rain", "sun"]}, {"text": "u", "label": "rain; sun"}, {"text": "v", "label": []}]
    assert load(task, write(tmp_path / "test.jsonl", rows), ["sun", "rain"])["test"].gold == [(0, 1), (0, 1), ()]
    with pytest.raises(UserError, match="unknown label 'snow'"):
        load(task, write(tmp_path / "test.jsonl", [{"text": "t", "label": "rain|snow"}]), ["sun", "rain"])


def test_one_file_of_numbers_is_divided_on_each_half(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": n % 4} for n in range(16)]
    data = write(tmp_path / "all.jsonl", rows)
    data.path = str(tmp_path / "all.jsonl")
    task = task_of(name="own", fields={"text": "text"}, target="number", range=[0, 3])
    splits = load(task, data, ["low", "high"])
    for split in splits.values():
        assert sum(own < 1.5 for own in split.gold) == sum(own >= 1.5 for own in split.gold) == 4
