"""From a label value to a label: one rule, whatever the kind of file, and never by luck."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import data_of, run_of, task_of

from pet_cli.base.values import is_missing, spelled
from pet_cli.config.resolve import labels as labels_of
from pet_cli.data.examples import Split
from pet_cli.data.load import load
from pet_cli.errors import UserError
from pet_cli.runs.states import fingerprint
from pet_cli.verbalizers.words import parse_words

MOODS = ["negative", "neutral", "positive"]
AG = task_of(
    fields={"text": "text"},
    labels=["world", "sports", "business", "technology"],
    values={"1": "world", "2": "sports", "3": "business", "4": "technology"},
)


def write_file(path: Path, values: list[Any], name: str = "test") -> Path:
    rows = [{"text": f"text {number}", "label": value} for number, value in enumerate(values)]
    (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, names: list[str], own: bool = True, **data: Any) -> Split:
    """The test split of a folder, by labels of the task's own or of a verbalizer."""
    task = task_of(labels=list(names) if own else [])
    return load(task, data_of(path=str(path), **data), names)["test"]


@given(number=st.integers(-1000, 1000))
@settings(max_examples=50)
def test_a_number_is_one_value_however_it_is_written(number: int) -> None:
    written = [
        number,
        float(number),
        str(number),
        f"{number}.0",
        f" {number}.00 ",
        np.int64(number),
        np.float64(number),
    ]
    assert {spelled(value) for value in written} == {str(number)}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((text, text) for text in ("007", "1e3", "1_1", "null", "yes", "No", "-", "1.", ".5", "٣", "true", "")),
        (True, "true"),
        (False, "false"),
        (np.True_, "true"),
        (None, "null"),
        ("+1", "1"),
        ("-0", "0"),
        (-0.0, "0"),
        ("1.50", "1.5"),
        (1.5, "1.5"),
        (0.00001, "0.00001"),
        (1e18, str(10**18)),
        (" a b ", "a b"),
    ],
)
def test_what_is_no_plain_decimal_stays_text(value: Any, text: str) -> None:
    assert spelled(value) == text


@pytest.mark.parametrize("value", [None, float("nan"), np.float32("nan"), np.float64("nan"), pd.NA, pd.NaT, "", " "])
def test_missing_values_are_missing_in_every_library(value: Any) -> None:
    assert is_missing(value)
    assert not any(is_missing(one) for one in (0, 0.0, False, "0", "nan", np.int64(0), [], {}))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("values", [["1", "5", "1"], ["1.0", "5.0", "1"], [1, 5, 1], [1.0, 5.0, 1.0]])
def test_numbers_as_names_are_one_value_in_every_kind_of_file(tmp_path: Path, suffix: str, values: list[Any]) -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": values})
    path = tmp_path / f"test.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, sep="\t" if suffix == "tsv" else ",", index=False)
    for names in (["1", "5"], labels_of(run_of(verbalizer={1.0: "bad", "5.0": "good"}))):
        assert read(tmp_path, names, own=False).gold == [0, 1, 0]


def test_places_mean_nothing_where_the_names_are_numbers(tmp_path: Path) -> None:
    write_file(tmp_path, [0, 1, 2])
    with pytest.raises(UserError, match=r"line 1: unknown label 0 \(the values there are 0, 1, 2\); known are 1, 2"):
        read(tmp_path, ["1", "2"])
    with pytest.raises(UserError, match="unknown label 0"):
        read(tmp_path, ["one", "2"])


def test_a_verbalizers_names_have_no_places(tmp_path: Path) -> None:
    write_file(tmp_path, [0, 1, 0])
    with pytest.raises(UserError) as caught:
        read(tmp_path, ["spam", "ham"], own=False)
    said = str(caught.value)
    assert "unknown label 0" in said and "Labels that verbalizer= names have no numbers" in said
    assert "data.labels='{0: LABEL, 1: LABEL}'" in said
    assert read(tmp_path, ["spam", "ham"], own=False, labels={0: "ham", 1: "spam"}).gold == [1, 0, 1]


@pytest.mark.parametrize("own", [True, False])
def test_a_scale_with_a_label_too_many_is_one_error_that_names_the_values(tmp_path: Path, own: bool) -> None:
    write_file(tmp_path, [-1, 0, 1] * 10)
    with pytest.raises(UserError) as caught:
        read(tmp_path, ["neutral", "positive"], own=own)
    assert "data.labels='{-1: LABEL, 0: LABEL, 1: LABEL}'" in str(caught.value)
    told = read(tmp_path, ["neutral", "positive"], own=own, labels={0: "neutral", 1: "positive"})
    assert told.gold == [0, 1] * 10 and told.notes == ("10 of 30 rows of test.jsonl have no label",)
    assert read(tmp_path, MOODS, own=own, labels={-1: "negative", 0: "neutral", 1: "positive"}).gold == [0, 1, 2] * 10


def test_a_few_rows_without_a_label_among_numbers_are_counted(tmp_path: Path) -> None:
    write_file(tmp_path, [0, 1] * 20 + [-1])
    split = read(tmp_path, ["no", "yes"])
    assert split.gold == [0, 1] * 20 and "1 of 41 rows of test.jsonl have no label" in split.notes


def test_a_binary_file_met_by_words_says_how_it_was_read(tmp_path: Path) -> None:
    split = read(write_file(tmp_path, [1, "0", 0.0]), ["negative", "positive"])
    assert split.gold == [1, 0, 0]
    assert split.notes == ("label numbers were read in the order of the task's labels: 0 as negative, 1 as positive",)
    assert not read(write_file(tmp_path, ["negative"]), ["negative", "positive"]).notes


@pytest.mark.parametrize("none", [None, "", "-", "-1", -1, "nan", "NaN", "null", float("nan")])
def test_rows_without_a_gold_label_are_counted_in_every_split(tmp_path: Path, none: Any) -> None:
    for name in ("train", "validation", "test"):
        write_file(tmp_path, ["a", none, "b", "a"], name)
    task = task_of(labels=["a", "b"])
    splits = load(task, data_of(path=str(tmp_path)), ["a", "b"])
    for name, split in splits.items():
        assert [example.row for example in split.labeled] == [0, 2, 3]
        assert split.notes == (f"1 of 4 rows of {name}.jsonl have no label",)
    assert splits["test"].gold == splits["validation"].gold == [0, 1, 0]


def test_a_value_of_no_label_is_a_label_where_one_is_called_so(tmp_path: Path) -> None:
    names = ["-1", "-", "null", "nan"]
    split = read(write_file(tmp_path, ["null", -1, "-1.0", "-", "nan", None]), names, own=False)
    assert split.gold == [2, 0, 0, 1, 3]


@pytest.mark.parametrize(
    "names", [["null", "yes", "no"], ["on", "off", "true"], ["1e3", "1_1", "007"], ["false", "1e-3", "0x1"]]
)
def test_names_that_look_like_something_else_stay_text(tmp_path: Path, names: list[str]) -> None:
    write_file(tmp_path, names)
    for own in (True, False):
        assert read(tmp_path, names, own=own).gold == [0, 1, 2]
    with pytest.raises(UserError, match="unknown label"):
        read(write_file(tmp_path, ["1000", "11", "7"]), ["1e3", "1_1", "007"], own=False)


def test_true_and_false_are_read_as_text_and_as_values(tmp_path: Path) -> None:
    for values in ([True, False], ["True", "False"], ["TRUE", "false"]):
        assert read(write_file(tmp_path, values), ["False", "True"], own=False).gold == [1, 0]


def test_names_are_met_without_regard_to_case_hyphens_and_spaces(tmp_path: Path) -> None:
    split = read(
        write_file(tmp_path, ["Not entailment", "NOT-ENTAILMENT", "entailment "]), ["entailment", "not_entailment"]
    )
    assert split.gold == [1, 1, 0]


def test_names_that_differ_in_spelling_alone_stay_apart(tmp_path: Path) -> None:
    assert read(write_file(tmp_path, ["US", "us", "us"]), ["us", "US"]).gold == [1, 0, 0]
    assert read(write_file(tmp_path, ["a b", "a-b"]), ["a-b", "a b"]).gold == [1, 0]
    with pytest.raises(UserError, match="line 1: the label 'Us' may be 'us' or 'US', which differ in spelling alone"):
        read(write_file(tmp_path, ["Us"]), ["us", "US"])


# --- the numbers of the hub's source --------------------------------------------------------------------------------


def numbered(path: Path, values: list[Any], **data: Any) -> Split:
    return load(AG, data_of(path=str(write_file(path, values)), **data), AG.labels)["test"]


def test_numbers_that_only_the_source_has_are_read_as_there(tmp_path: Path) -> None:
    split = numbered(tmp_path, [1, 2, 3, 4])
    assert split.gold == [0, 1, 2, 3]
    assert "as the task's source has them: 1 as world, 2 as sports" in split.notes[0]


def test_numbers_from_zero_are_read_from_zero(tmp_path: Path) -> None:
    split = numbered(tmp_path, [0, 1, 3])
    assert split.gold == [0, 1, 3] and "in the order of the task's labels: 0 as world" in split.notes[0]


def test_numbers_that_fit_both_are_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1, 2, 3 may count from 0 .*, or as the task's source has .*data.labels="):
        numbered(tmp_path, [1, 2, 3, 3])
    told = numbered(tmp_path, [1, 2, 3, 3], labels={1: "world", 2: "sports", 3: "business"})
    assert told.gold == [0, 1, 2, 2]


def test_all_splits_of_a_folder_tell_together(tmp_path: Path) -> None:
    write_file(tmp_path, [4, 1], "train")
    assert numbered(tmp_path, [1, 2, 3]).gold == [0, 1, 2]
    write_file(tmp_path, [0, 1], "train")
    assert numbered(tmp_path, [1, 2, 3]).gold == [1, 2, 3]


def test_numbers_of_neither_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 3: unknown label 7 \(the values there are 0, 1, 7\)"):
        numbered(tmp_path, [0, 1, 7])


def test_codes_of_the_task_are_read_in_a_file(tmp_path: Path) -> None:
    news = task_of(
        name="n", fields={"text": "text"}, labels=["story", "culture"], values={100: "story", "101": "culture"}
    )
    assert load(news, data_of(path=str(write_file(tmp_path, [101, "100"]))), news.labels)["test"].gold == [1, 0]


# --- data.labels, and names as they are written ----------------------------------------------------------------------


def test_what_the_user_says_comes_first(tmp_path: Path) -> None:
    write_file(tmp_path, ["a", "b", 1, "1.0"])
    split = read(tmp_path, ["a", "b"], labels={"a": "b", "b": "a", 1.0: "A"})
    assert split.gold == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({1: "positiv"}, "'positiv' is no label of the task; .* Did you mean 'positive'"),
        ({1: "neutral", "1.0": "positive"}, "the value 1 stands there twice"),
        ([1, 2], "write the file's value: our label"),
    ],
)
def test_what_the_user_says_wrongly_is_refused_by_its_key(tmp_path: Path, written: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"^data.labels: .*{said}|^data.labels: {said}"):
        read(write_file(tmp_path, [1]), MOODS, labels=written)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[yes, no]", "YAML reads a bare true, yes or on as True; write it in quotes"),
        ("[a, null]", "YAML reads a bare null as None"),
        ('[1, "1.0"]', "the label 1 stands there twice"),
        ("[a, a]", "the label a stands there twice"),
        ("[a, [b]]", "the label .* is no name"),
        ('[a, ""]', "the label '' is no name"),
    ],
)
def test_a_task_file_says_how_to_write_its_labels(written: str, said: str) -> None:
    task = task_of(labels=yaml.safe_load(written))
    with pytest.raises(UserError, match=f"^task.labels.*{said}"):
        labels_of(run_of(task=task))


def test_a_verbalizers_bare_yes_and_no_are_turned_back() -> None:
    words = yaml.safe_load('{yes: "Yes", no: "No"}')
    assert list(parse_words(words, ["no", "yes"])) == ["no", "yes"]
    assert parse_words(words, ["no", "yes"])["yes"] == {"Yes": 1.0}
    task = task_of(labels=["no", "yes", "maybe"], values={0: "no", "m": "maybe"})
    more = run_of(task=task, verbalizer={**words, "maybe": "Maybe"})  # keys of several types, which have no order
    other = run_of(task=task, verbalizer={"maybe": "Maybe", **words})
    assert fingerprint(more) == fingerprint(other) != fingerprint(run_of(task=task, verbalizer=words))
    assert parse_words({1.0: "bad", 5: "good"}, ["1", "5"])["5"] == {"good": 1.0}
    with pytest.raises(UserError, match="unknown label 'true'"):
        parse_words(words, ["a", "b"])
