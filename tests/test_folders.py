"""Where data lie: folders as people and the hub write them, one file divided, and the hub itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources import data_of, run_of, task_of

from pet_cli.base import hub
from pet_cli.config.build import option, section
from pet_cli.data.examples import Split
from pet_cli.data.fields import text_key
from pet_cli.data.folders import split_files, stamp
from pet_cli.data.load import load
from pet_cli.errors import UserError
from pet_cli.runs.session import Session

NAMES = ["no", "yes"]
TASK = task_of(fields={"text": "sentence"}, labels=NAMES, verbalizers=[{"no": "bad", "yes": "good"}])


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def some(n: int, what: str, label: Callable[[int], Any] = lambda i: NAMES[i % 2]) -> list[dict[str, Any]]:
    return [{"text": f"{what} {i}", "label": label(i)} for i in range(n)]


# --- folders -------------------------------------------------------------------------------------------------------

FOLDERS: dict[str, dict[str, list[str]]] = {
    "files": {
        "train": ["train.csv"],
        "validation": ["dev.jsonl"],
        "test": ["test.tsv"],
        "unlabeled": ["unlabeled.jsonl"],
    },
    "capitals": {"train": ["Training.csv"], "test": ["TEST.CSV"], "validation": ["Val.Json"]},
    "shards": {
        "train": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
        "test": ["data/test-00000-of-00001.parquet"],
    },
    "shards above": {"test": ["test-00000-of-00001.parquet"], "unlabeled": ["unsupervised-00000-of-00001.parquet"]},
    "a configuration": {"train": ["plain_text/train-00000-of-00001.parquet"], "test": ["plain_text/test.jsonl"]},
    "folders": {"train": ["train/data.csv"], "test": ["test/data-00000-of-00001.jsonl"]},
    "compressed": {"train": ["train.jsonl.gz"], "test": ["test.CSV.gz"]},
    "other names": {"test": ["testing.json"], "validation": ["development.csv"], "unlabeled": ["unlabelled.csv"]},
}


@pytest.mark.parametrize("name", FOLDERS)
def test_splits_are_found_as_people_and_the_hub_name_them(tmp_path: Path, name: str) -> None:
    for other in ("README.md", "dataset_infos.json", ".train.csv", "images/x.png", "notes/train.txt"):
        write(tmp_path / other, [])
    for files in FOLDERS[name].values():
        for file in files:
            write(tmp_path / file, [])
    found = split_files(tmp_path)
    assert {split: [str(file.relative_to(tmp_path)) for file in files] for split, files in found.items()} == FOLDERS[
        name
    ]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["train.csv", "train.jsonl"], "both train.csv and train.jsonl are 'train'"),
        (["dev.csv", "validation.csv"], "both dev.csv and validation.csv are 'validation'"),
        (
            ["train.csv", "train/data.csv"],
            "both train/data.csv and train.csv|both train.csv and train/data.csv",
        ),
        (["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"], "of the 3 files of 'train', 2 are there"),
        (["a/train.csv", "b/train.csv"], "there are data in a, b; name one of these folders"),
        (["trian.csv"], "no file there is named after a split"),
    ],
)
def test_a_folder_that_can_be_read_in_two_ways_is_refused(tmp_path: Path, files: list[str], said: str) -> None:
    for file in files:
        write(tmp_path / file, [])
    with pytest.raises(UserError, match=f"^data.path={tmp_path}: ({said})"):
        split_files(tmp_path)


def test_shards_are_one_split_in_their_order(tmp_path: Path) -> None:
    for number in range(3):
        frame = pd.DataFrame({"text": [f"{number} a", f"{number} b"], "label": [0, 1]})
        (tmp_path / "data").mkdir(exist_ok=True)
        frame.to_parquet(tmp_path / "data" / f"test-0000{number}-of-00003.parquet")
    split = load(TASK, data_of(path=str(tmp_path)), NAMES)["test"]
    assert [row["text"] for row in split.rows] == ["0 a", "0 b", "1 a", "1 b", "2 a", "2 b"]
    assert [example.row for example in split.examples] == list(range(6))


def test_a_stamp_tells_of_every_file_of_a_split(tmp_path: Path) -> None:
    write(tmp_path / "test-00000-of-00002.jsonl", some(2, "a"))
    write(tmp_path / "test-00001-of-00002.jsonl", some(2, "b"))
    before = stamp(tmp_path)
    write(tmp_path / "README.md", some(1, "c"))
    assert stamp(tmp_path) == before
    write(tmp_path / "test-00001-of-00002.jsonl", some(3, "b"))
    assert stamp(tmp_path) != before
    assert stamp(tmp_path / "none") is None


# --- one file divided ----------------------------------------------------------------------------------------------


@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.sampled_from([0, 1, None])), min_size=12, max_size=60),
    fraction=st.sampled_from([0.25, 0.5, 0.8]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_equal_texts_of_a_file_are_on_one_side(
    tmp_path: Path, rows: list[tuple[int, int | None]], fraction: float, seed: int
) -> None:
    rows = [(100, 0), (101, 0), (102, 1), (103, 1), *rows]
    path = write(tmp_path / "all.jsonl", [{"text": f"text  {t}", "label": label} for t, label in rows])
    splits = load(TASK, data_of(path=str(path), test_fraction=fraction, seed=seed), NAMES)
    train, test = splits["train"], splits["test"]
    assert not {text_key(e.fields) for e in train.labeled} & {text_key(e.fields) for e in test.examples}
    assert sorted(e.row for split in (train, test) for e in split.examples) == list(range(len(rows)))
    assert all(e.gold is not None for e in test.examples)
    unlabeled = sum(label is None for _, label in rows)
    assert len(train) - len(train.labeled) == unlabeled
    assert any(f"{unlabeled} of {len(rows)} rows of all.jsonl have no label" in note for note in train.notes) == (
        unlabeled > 0
    )


def test_a_file_of_different_texts_is_divided_by_label_as_ever(tmp_path: Path) -> None:
    path = write(tmp_path / "all.jsonl", some(20, "t"))
    split = load(TASK, data_of(path=str(path), test_fraction=0.3), NAMES)["test"]
    assert split.gold.count(0) == split.gold.count(1) == 3
    assert sorted(example.row for example in split.examples) == [1, 6, 8, 12, 15, 17]  # of seed 13, in every version
    other = load(TASK, data_of(path=str(path), test_fraction=0.3, seed=14), NAMES)["test"]
    assert split.fingerprint != other.fingerprint


def test_a_question_of_a_file_is_on_one_side(tmp_path: Path) -> None:
    rows = [{**row, "q": number // 3} for number, row in enumerate(some(21, "t"))]
    path = write(tmp_path / "all.jsonl", rows)
    splits = load(dataclasses.replace(TASK, group="q"), data_of(path=str(path)), NAMES)
    train, test = ({e.group for e in splits[name].examples} for name in ("train", "test"))
    assert train and test and not train & test and len(train | test) == 7


def test_a_file_of_one_text_cannot_be_divided(tmp_path: Path) -> None:
    path = write(tmp_path / "all.jsonl", [{"text": "the same", "label": i % 2} for i in range(8)])
    with pytest.raises(UserError, match="8 labeled rows with 1 different texts cannot be divided"):
        load(TASK, data_of(path=str(path)), NAMES)


def test_minus_one_in_a_single_file_is_unlabeled_text(tmp_path: Path) -> None:
    rows = [{"text": f"t{i}", "label": (0, 1, -1)[i % 3]} for i in range(30)]
    config = pet(data=data_of(path=str(write(tmp_path / "all.jsonl", rows)), shots=2))
    drawn = Session().splits(config)
    assert len(drawn["test"]) == 10 and len(drawn["train"]) == 4 and len(drawn["unlabeled"]) == 16
    assert {e.row for e in drawn["unlabeled"].examples} >= {i for i in range(30) if i % 3 == 2}


# --- what a run takes ----------------------------------------------------------------------------------------------


def config(**values: Any) -> Any:
    return run_of(**{"task": TASK, **values})


def pet(**values: Any) -> Any:
    return config(ensemble=option("ensemble", "pet"), **values)


def notes(splits: dict[str, Split]) -> str:
    return "; ".join(note for split in splits.values() for note in split.notes)


def folder(path: Path, **files: list[dict[str, Any]]) -> str:
    for name, rows in {"train": some(20, "train"), "test": some(6, "test"), **files}.items():
        write(path / f"{name}.jsonl", rows)
    return str(path)


def test_a_validation_file_chooses_nothing_unless_asked_to(tmp_path: Path) -> None:
    data = {"path": folder(tmp_path, validation=some(8, "validation")), "shots": 4}
    drawn = Session().splits(config(data=data_of(**data)))
    assert not drawn["dev"] and "a validation split of 8 examples is there and chose nothing" in notes(drawn)
    drawn = Session().splits(config(data=data_of(**data, dev="validation")))
    assert [row["text"] for row in drawn["dev"].rows] == [f"validation {i}" for i in range(8)]
    assert len(drawn["train"]) == 8 and "chose nothing" not in notes(drawn)
    drawn = Session().splits(config(data=data_of(**data, dev="validation", dev_shots=2)))
    assert sorted(drawn["dev"].gold) == [0, 0, 1, 1] and "validation" in drawn["dev"].rows[0]["text"]
    assert len(drawn["train"]) == 8, "development examples are not taken from the training split too"
    assert "validation" not in notes(
        Session().splits(config(data=data_of(**data), tuning=option("tuning", "zero_shot")))
    )


def test_labeled_test_rows_are_scored_though_there_is_a_validation_file(tmp_path: Path) -> None:
    path = folder(tmp_path, validation=some(8, "validation"))
    assert load(TASK, data_of(path=path), NAMES)["test"].rows[0]["text"] == "test 0"


def test_a_validation_split_that_is_scored_cannot_choose(tmp_path: Path) -> None:
    path = folder(tmp_path, validation=some(8, "validation"), test=some(8, "test", lambda i: -1))
    assert load(TASK, data_of(path=path), NAMES)["test"].rows[0]["text"] == "validation 0"
    with pytest.raises(UserError, match=r"data\.dev=validation: there is no validation split"):
        Session().splits(config(data=data_of(path=path, shots=4, dev="validation")))


def test_development_examples_are_none_of_the_training_examples(tmp_path: Path) -> None:
    drawn = Session().splits(config(data=data_of(path=folder(tmp_path), shots=4, dev_shots=3)))
    train, dev = ({e.row for e in drawn[name].examples} for name in ("train", "dev"))
    assert (len(train), len(dev)) == (8, 6) and not train & dev
    other = Session().splits(config(data=data_of(path=folder(tmp_path), shots=4, dev_shots=3, seed=14)))
    assert {e.row for e in other["train"].examples} != train and {e.row for e in other["dev"].examples} != dev


def test_fewer_says_what_it_left(tmp_path: Path) -> None:
    path = folder(tmp_path)
    none = Session().splits(config(data=data_of(path=path, shots=10, dev_shots=4, fewer="take")))
    assert len(none["train"]) == 20 and not none["dev"]
    assert "data.fewer=take left no development set: the last step is kept" in notes(none)
    less = Session().splits(config(data=data_of(path=path, shots=8, dev_shots=4, fewer="take")))
    assert "data.fewer=take left 4 of 8 development examples" in notes(less)
    with pytest.raises(UserError, match=r"data\.shots=8 and data\.dev_shots=4: label 'no' has only 10"):
        Session().splits(config(data=data_of(path=path, shots=8, dev_shots=4)))


def test_a_split_is_taken_whole_though_a_label_is_missing(tmp_path: Path) -> None:
    path = folder(tmp_path, train=some(6, "train", lambda i: "yes"))
    drawn = Session().splits(config(data=data_of(path=path, shots=None)))
    assert drawn["train"].gold == [1] * 6 and "no training example has the label no" in notes(drawn)
    with pytest.raises(UserError, match=r"data\.shots=2: label 'no' has only 0 .*data\.shots=null the whole split"):
        Session().splits(config(data=data_of(path=path, shots=2)))


def test_test_texts_that_were_learned_and_texts_learned_twice_are_said(tmp_path: Path) -> None:
    train = [*some(6, "train"), {"text": " train  0 ", "label": "no"}, *some(3, "test")]
    said = notes(Session().splits(config(data=data_of(path=folder(tmp_path, train=train), shots=None))))
    assert "3 of 6 test texts also stand among the training or development examples" in said
    assert "1 of 10 training texts stand there more than once" in said
    assert "development texts" not in said
    own = {"path": str(tmp_path), "shots": 3, "dev_shots": 1}
    write(tmp_path / "train.jsonl", some(8, "same") + [{**row, "text": "same 0"} for row in some(8, "more")])
    assert "1 of 2 development texts also stand among the training examples" in notes(
        Session().splits(config(data=data_of(**own, seed=5)))
    )
    clean = Session().splits(config(data=data_of(path=folder(tmp_path, train=some(9, "train")), shots=None)))
    assert not notes(clean)


@pytest.mark.parametrize("how", ["auto", "file", "train"])
def test_unlabeled_texts_come_from_their_file_or_from_what_was_not_drawn(tmp_path: Path, how: str) -> None:
    data = {"path": folder(tmp_path), "shots": 4, "dev_shots": 1, "unlabeled": how}
    drawn = Session().splits(pet(data=data_of(**data)))
    if how == "file":
        assert "unlabeled" not in drawn
    else:
        rest = drawn["unlabeled"]
        used = {e.row for name in ("train", "dev") for e in drawn[name].examples}
        assert {e.row for e in rest.examples} == set(range(20)) - used and len(rest) == 10
        assert all(e.gold is None and "train" in e.fields["text"] for e in rest.examples)
        assert "unlabeled texts: the 10 training texts that were not drawn" in notes(drawn)
    write(tmp_path / "unlabeled.jsonl", [{"text": f"unlabeled {i}"} for i in range(7)])
    drawn = Session().splits(pet(data=data_of(**data)))
    assert len(drawn["unlabeled"]) == (10 if how == "train" else 7)
    assert ("unlabeled texts: the unlabeled split, 7 texts" in notes(drawn)) == (how != "train")
    assert "of them taken" not in notes(drawn)
    few = Session().splits(pet(data=data_of(**data, max_unlabeled=3)))
    assert len(few["unlabeled"]) == 3 and "3 of them taken (data.max_unlabeled)" in notes(few)


def test_unlabeled_texts_are_never_test_texts_and_the_unlabeled_rows_of_train_are_among_them(tmp_path: Path) -> None:
    train = [*some(8, "train"), *some(6, "test"), *some(3, "more", lambda i: None)]
    drawn = Session().splits(pet(data=data_of(path=folder(tmp_path, train=train), shots=1, max_test=2)))
    texts = [row["text"] for row in drawn["unlabeled"].rows]
    assert not any(text.startswith("test") for text in texts)
    assert texts[-3:] == ["more 0", "more 1", "more 2"]
    assert len(Session().splits(pet(data=data_of(path=str(tmp_path), shots=1, max_unlabeled=4)))["unlabeled"]) == 4


def test_unlabeled_texts_that_are_test_texts_are_said_where_they_are_read(tmp_path: Path) -> None:
    unlabeled = [{"text": " test  1 "}, {"text": "test 2"}, {"text": "other"}]
    own = data_of(path=folder(tmp_path, unlabeled=unlabeled), shots=2)
    said = "2 of 3 unlabeled texts are also in the test split"
    for reads in (pet(data=own), config(data=own, trainer=section("trainer", mlm_alpha=0.1))):
        assert said in notes(Session().splits(reads))
    assert said not in notes(Session().splits(config(data=own)))


def test_rows_without_text_are_left_out_and_counted_in_every_split(tmp_path: Path) -> None:
    blank = [{"text": None, "label": "no"}, {"text": " ", "label": "yes"}]
    splits = {name: [*blank, *some(4, name)] for name in ("train", "test", "unlabeled", "validation")}
    loaded = load(TASK, data_of(path=folder(tmp_path, **splits)), NAMES)
    for name, split in loaded.items():
        assert [example.row for example in split.examples] == [2, 3, 4, 5], name
        assert split.notes == (f"2 of 6 rows of {name}.jsonl have no text",)


def test_a_missing_text_of_several_is_empty(tmp_path: Path) -> None:
    task = task_of(fields={"a": "a", "b": "b"}, labels=NAMES)
    rows = [{"a": "x", "b": None, "label": 0}, {"a": "y", "label": 1}, {"a": "", "b": float("nan"), "label": 1}]
    split = load(task, data_of(path=str(write(tmp_path / "test.jsonl", rows).parent)), NAMES)["test"]
    assert [dict(row) for row in split.rows] == [{"a": "x", "b": ""}, {"a": "y", "b": ""}]


def test_a_session_never_mixes_what_it_read(tmp_path: Path) -> None:
    session = Session()
    for name in ("a", "b", "a"):
        path = folder(tmp_path / name, test=some(4, name))
        assert session.splits(config(data=data_of(path=path, shots=2)))["test"].rows[0]["text"] == f"{name} 0"
    write(tmp_path / "a" / "test.jsonl", some(4, "changed since"))
    changed = session.splits(config(data=data_of(path=str(tmp_path / "a"), shots=2)))["test"]
    assert changed.rows[0]["text"] == "changed since 0"
    rows = [{"x": f"x {i}", "y": f"y {i}", "p": NAMES[i % 2], "q": NAMES[1 - i % 2]} for i in range(12)]
    path = str(write(tmp_path / "all.JSONL", rows))

    def first(**data: Any) -> tuple[int, str, int]:
        data = {"path": path, "fields": {"text": "x"}, "label": "p", "shots": 2, **data}
        example = session.splits(config(data=data_of(**data)))["test"].examples[0]
        return example.row, example.fields["text"][0], (example.gold or 0) ^ (example.row % 2)

    assert first()[1:] == ("x", 0) and first(fields={"text": "y"})[1:] == ("y", 0) and first(label="q")[1:] == ("x", 1)
    assert first(labels={"no": "yes", "yes": "no"})[1:] == ("x", 1)
    assert (
        len(
            {
                tuple(
                    e.row
                    for e in session.splits(
                        config(data=data_of(path=path, fields={"text": "x"}, label="p", shots=1, seed=seed))
                    )["test"].examples
                )
                for seed in range(6)
            }
        )
        > 1
    )


def test_a_splits_fingerprint_tells_of_texts_rows_and_labels(tmp_path: Path) -> None:
    def of(rows: list[dict[str, Any]]) -> str:
        write(tmp_path / "test.jsonl", rows)
        return load(TASK, data_of(path=str(tmp_path)), NAMES)["test"].fingerprint

    before = of(some(4, "a"))
    assert of(some(4, "a")) == before
    assert (
        len({before, of(some(4, "b")), of(some(5, "a")), of(some(4, "a", lambda i: "no")), of(some(4, "a")[::-1])}) == 5
    )


def test_targets_of_unlabeled_examples_are_no_list(tmp_path: Path) -> None:
    drawn = Session().splits(pet(data=data_of(path=folder(tmp_path), shots=2)))
    with pytest.raises(ValueError, match="16 examples of 'unlabeled' have no label"):
        _ = drawn["unlabeled"].gold


# --- the hub, by a stand-in ----------------------------------------------------------------------------------------


class Rows(list[dict[str, Any]]):
    """What `datasets.load_dataset` returns, as far as it is looked at."""

    def __init__(self, rows: list[dict[str, Any]], names: list[str] | None = None) -> None:
        super().__init__(rows)
        feature = type("ClassLabel", (), {"names": names})() if names else object()
        self.features = {name: feature for name in (rows[0] if rows else {}) if name != "sentence"}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[Any, ...]]]:
    """Puts splits (by the hub's names) or an error in the place of the hub; returns what it was asked for."""
    import datasets

    asked: list[tuple[Any, ...]] = []

    def put(splits: dict[str, Rows] | Exception) -> list[tuple[Any, ...]]:
        def load_dataset(path: str, name: str | None = None, *, split: str, revision: str | None = None) -> Rows:
            asked.append((path, name, split, revision))
            if isinstance(splits, Exception):
                raise splits
            return splits[split]

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        monkeypatch.setattr(hub, "prepare", lambda: True)
        return asked

    return put


def on_hub(**values: Any) -> Any:
    source = {"hub": "owner/name", "splits": {"test": "test"}, **values.pop("source", {})}
    return task_of(**{"fields": {"text": "sentence"}, "labels": NAMES, "source": source, **values})


def sentences(labels: list[Any], column: str = "label") -> list[dict[str, Any]]:
    return [{"sentence": f"s{i}", column: label} for i, label in enumerate(labels)]


def test_the_hub_is_asked_for_configuration_split_and_revision(stand_in: Any) -> None:
    asked = stand_in(
        {"train[:9]": Rows(sentences([0, 1])), "dev": Rows(sentences([1])), "extra": Rows([{"sentence": "u"}])}
    )
    source = {
        "config": "en",
        "revision": "abc",
        "splits": {"train": "train[:9]", "test": "dev", "unlabeled": "extra"},
    }
    splits = load(on_hub(source=source), data_of(), NAMES)
    assert asked == [("owner/name", "en", name, "abc") for name in ("train[:9]", "dev", "extra")]
    assert (splits["train"].gold, splits["test"].gold) == ([0, 1], [1])
    assert [dict(row) for row in splits["unlabeled"].rows] == [{"text": "u"}]


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (["yes", "no"], {}),
        (["Yes", "NO"], {}),
        (["right", "wrong"], {"right": "yes", "wrong": "no"}),
    ],
)
def test_the_hubs_own_order_of_the_names_is_kept(stand_in: Any, names: list[str], values: dict[str, str]) -> None:
    stand_in({"test": Rows(sentences([0, 1, 1, -1]), names)})
    split = load(on_hub(values=values), data_of(), NAMES)["test"]
    assert split.gold == [1, 0, 0] and split.notes == ("1 of 4 rows of name test have no label",)


def test_numbers_without_names_follow_the_task(stand_in: Any) -> None:
    stand_in({"test": Rows(sentences([0, 1]), ["neg", "pos"])})
    assert load(on_hub(), data_of(), NAMES)["test"].gold == [0, 1]
    stand_in({"test": Rows(sentences([2, 1]))})
    assert load(on_hub(values={"1": "no", "2": "yes"}), data_of(), NAMES)["test"].gold == [1, 0]
    with pytest.raises(UserError, match="owner/name test, row 0: unknown label 2"):
        load(on_hub(), data_of(), NAMES)


def test_the_hubs_label_column_may_have_another_name(stand_in: Any) -> None:
    stand_in(
        {"test": Rows([{"sentence": "a", "label": 0, "answer": True}, {"sentence": "b", "label": 0, "answer": False}])}
    )
    task = on_hub(source={"label": "answer"}, values={"false": "no", "true": "yes"})
    assert load(task, data_of(), NAMES)["test"].gold == [1, 0]
    assert load(task, data_of(label="label"), NAMES)["test"].gold == [0, 0]
    stand_in({"test": Rows(sentences([0, 1], "answer"), ["yes", "no"])})
    assert load(on_hub(source={"label": "answer"}), data_of(), NAMES)["test"].gold == [1, 0]


def test_a_file_may_have_the_hubs_label_column_or_the_tasks_and_the_users_comes_before_both(tmp_path: Path) -> None:
    task = on_hub(source={"label": "answer"})
    (tmp_path / "test.csv").write_text("sentence,answer\na,yes\nb,no\n")
    assert load(task, data_of(path=str(tmp_path)), NAMES)["test"].gold == [NAMES.index("yes"), NAMES.index("no")]
    (tmp_path / "test.csv").write_text("sentence,answer,label\na,yes,no\nb,yes,yes\n")
    assert load(task, data_of(path=str(tmp_path)), NAMES)["test"].gold == [NAMES.index("no"), NAMES.index("yes")]
    assert load(task, data_of(path=str(tmp_path), label="answer"), NAMES)["test"].gold == [NAMES.index("yes")] * 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Dataset scripts are no longer supported, but found name.py"), "is a loading script"),
        (FileNotFoundError("Dataset 'owner/name' doesn't exist on the Hub or cannot be accessed."), "does not exist"),
        (PermissionError("Dataset 'owner/name' is a gated dataset on the Hub.\nVisit the page."), "is gated: ask for"),
        (ValueError("BuilderConfig 'en' not found. Available: ['de']"), r"has no such configuration .*\['de'\]"),
        (ValueError("Unknown split \"test\". Should be one of ['train']."), r"has no such split .*\['train'\]"),
        (ConnectionError("Couldn't reach the hub"), r"cannot be loaded from the hub \(ConnectionError\)"),
    ],
)
def test_what_the_hub_refuses_is_one_message(stand_in: Any, error: Exception, said: str) -> None:
    stand_in(error)
    with pytest.raises(UserError, match=f"task=t: the data set owner/name en test .*{said}|{said}") as caught:
        load(on_hub(source={"config": "en"}), data_of(), NAMES)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and "data.path=FOLDER, with columns sentence, label" in message
