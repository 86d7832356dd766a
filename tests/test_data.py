"""Data from files: every kind of label lands right, and bad data is named by file and row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sources import data_of, run_of, task_of

from pet_cli.config.build import option
from pet_cli.data.load import load
from pet_cli.data.rows import read_rows
from pet_cli.errors import UserError
from pet_cli.runs.session import Session

LABELS = ["no", "yes"]
TASK = task_of(fields={"text": "sentence"}, labels=LABELS, values={"false": "no", "true": "yes"})


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("values", [(0, 1), ("0", "1"), ("no", "yes"), ("No", "YES"), (False, True), (0.0, 1.0)])
def test_labels_of_every_kind_land_right(tmp_path: Path, values: tuple[Any, Any]) -> None:
    write(tmp_path / "test.jsonl", [{"sentence": f"s{i}", "label": values[i % 2]} for i in range(4)])
    split = load(TASK, data_of(path=str(tmp_path)), LABELS)["test"]
    assert split.gold == [0, 1, 0, 1]
    assert split.rows[0] == {"text": "s0"}


def test_labels_numbered_otherwise_are_mapped(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", [{"text": f"s{i}", "label": [2, 1][i % 2]} for i in range(4)])
    split = load(TASK, data_of(path=str(tmp_path), labels={1: "no", 2: "yes"}), LABELS)["test"]
    assert split.gold == [1, 0, 1, 0]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_every_kind_of_file_reads_the_same(tmp_path: Path, suffix: str) -> None:
    rows = [{"text": '"quoted", and a long; line', "label": 1}, {"text": "Straße – 很好", "label": 0}]
    frame = pd.DataFrame(rows)
    path = tmp_path / f"test.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "jsonl":
        write(path, rows)
    elif suffix == "tsv":
        path.write_text("".join(f"{a}\t{b}\n" for a, b in [("text", "label"), *frame.values.tolist()]), "utf-8")
    else:
        frame.to_csv(path, index=False)
    split = load(TASK, data_of(path=str(tmp_path)), LABELS)["test"]
    assert [dict(row)["text"] for row in split.rows] == [row["text"] for row in rows]
    assert split.gold == [1, 0]


def test_a_separator_is_refused_where_no_file_is_a_csv(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", [{"text": "good", "label": 1}, {"text": "bad", "label": 0}])
    with pytest.raises(UserError, match=r"data\.separator=semicolon"):
        load(TASK, data_of(path=str(tmp_path), separator="semicolon"), LABELS)


def test_a_single_file_is_divided_by_label_without_overlap(tmp_path: Path) -> None:
    path = write(tmp_path / "all.jsonl", [{"text": f"t{i}", "label": int(i < 10)} for i in range(30)])
    splits = load(TASK, data_of(path=str(path), test_fraction=0.5), LABELS)
    train, test = ({e.row for e in splits[name].examples} for name in ("train", "test"))
    assert not train & test and len(train | test) == 30
    assert sorted(splits["test"].gold) == [0] * 10 + [1] * 5


def test_hidden_test_labels_are_never_scored(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", [{"text": "hidden", "label": -1}])
    write(tmp_path / "dev.jsonl", [{"text": "known", "label": 1}])
    split = load(TASK, data_of(path=str(tmp_path)), LABELS)["test"]
    assert [dict(row) for row in split.rows] == [{"text": "known"}]
    (tmp_path / "dev.jsonl").unlink()
    with pytest.raises(UserError, match="no labels"):
        load(TASK, data_of(path=str(tmp_path)), LABELS)


def test_the_first_row_of_json_may_lack_the_label(tmp_path: Path) -> None:
    rows = [{"text": "nobody said"}, {"text": "known", "label": 1}]
    for name in ("train", "test"):
        write(tmp_path / f"{name}.jsonl", rows)
    write(tmp_path / "dev.jsonl", [{"text": "for another end", "label": 1}])
    loaded = load(TASK, data_of(path=str(tmp_path)), LABELS)
    assert [(e.row, e.gold) for e in loaded["test"].examples] == [(1, 1)] and len(loaded["validation"]) == 1
    assert [(e.row, e.gold) for e in loaded["train"].examples] == [(1, 1), (0, None)]


BAD = [
    ("test.jsonl", b"", "is empty"),
    ("test.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label"\n', "test.jsonl, line 2"),
    ("test.jsonl", b'{"text": "a", "label": 1}\n[1, 2]\n', "line 2: not a JSON object"),
    ("test.jsonl", b'{"text": "a", "label": 1}\n{"text": "\xff", "label": 1}\n', "line 2: not UTF-8"),
    ("test.jsonl", b'{"txt": "a", "label": 1}\n', "there are txt, label. Did you mean 'txt'"),
    ("test.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": 7}\n', "line 2: unknown label 7"),
    ("test.jsonl", b'{"text": null, "label": 1}\n', "test.jsonl: no row has any text in text"),
    ("test.jsonl", b'{"text": ["a"], "label": 1}\n', "line 1: the column 'text' is not text"),
    ("train.jsonl", b'{"text": "a", "lable": 1}\n', "no label column 'label'"),
    ("test.csv", b"text,label\na,1\nb,1,2\n", "test.csv, line 3: 3 columns where the header has 2"),
    ("test.csv", b'text,label\n"a,1\n', "test.csv, line"),
    ("test.csv", b"text,label\n", "has no rows"),
    ("test.parquet", b"not parquet", "not a parquet file"),
    ("notes.txt", b"x", "named after a split"),
]


@pytest.mark.parametrize(("name", "content", "said"), BAD, ids=[f"{n}: {s}" for n, _, s in BAD])
def test_bad_data_is_named_by_file_and_row(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(TASK, data_of(path=str(tmp_path)), LABELS)
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_an_unknown_kind_of_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_bytes(b"x")
    with pytest.raises(UserError, match=r"allowed are \.jsonl"):
        list(read_rows(tmp_path / "x.xlsx"))
    with pytest.raises(UserError, match="No file"):
        list(read_rows(tmp_path / "y.csv"))


def test_a_capped_test_set_is_a_seeded_draw(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", [{"text": f"t{i}", "label": i % 2} for i in range(50)])

    def rows(seed: int) -> list[int]:
        config = run_of(
            task=TASK, tuning=option("tuning", "zero_shot"), data=data_of(path=str(tmp_path), max_test=10, seed=seed)
        )
        return [example.row for example in Session().splits(config)["test"].examples]

    assert rows(1) == rows(1) != rows(2) and len(rows(1)) == 10
