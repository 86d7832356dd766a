"""Files to rows: the same rows whatever the kind of file, and what is wrong named by file and line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources import data_of, task_of

from pet_cli.data.fields import FieldReader, as_text, find, text_key
from pet_cli.data.load import load
from pet_cli.data.rows import read_rows
from pet_cli.errors import UserError

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=30)
LINE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=30)
NAMES = ("text", "note", "label")


def rows_of(path: Path, separator: str | None = None) -> list[dict[str, Any]]:
    return [row for _, row in read_rows(path, separator)]


def write_csv(path: Path, rows: list[dict[str, str]], separator: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, NAMES, delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def tables(cell: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, str]]]:
    return st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, cell)), min_size=1, max_size=8)


@given(rows=tables(TEXT), separator=st.sampled_from([",", ";", "\t", "|"]), mark=st.booleans())
@quick
def test_a_csv_is_read_as_it_was_written(
    tmp_path: Path, rows: list[dict[str, str]], separator: str, mark: bool
) -> None:
    write_csv(tmp_path / "x.csv", rows, separator)
    if mark:
        (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "x.csv").read_bytes())
    assert rows_of(tmp_path / "x.csv", separator) == rows
    assert rows_of(tmp_path / "x.csv") == rows, "its separator is found"


@given(rows=tables(LINE))
@quick
def test_a_tsv_is_read_as_it_was_written_without_quotes(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    lines = ["\t".join(NAMES), *("\t".join(row[name] for name in NAMES) for row in rows)]
    (tmp_path / "x.tsv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8", newline="")
    assert rows_of(tmp_path / "x.tsv") == rows


@given(rows=tables(st.text(max_size=30) | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)))
@quick
def test_json_is_read_as_it_was_written_line_by_line_and_as_a_list(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "x.jsonl").write_text(lines)
    (tmp_path / "lines.json").write_text("\n" + lines)
    (tmp_path / "list.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for name in ("x.jsonl", "lines.json", "list.json", "x.jsonl.gz"):
        assert rows_of(tmp_path / name) == rows, name


@given(rows=tables(TEXT))
@quick
def test_parquet_is_read_as_it_was_written_text_as_bytes_too(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    frame = pd.DataFrame(rows)
    frame["note"] = [text.encode() for text in frame["note"]]
    frame.to_parquet(tmp_path / "X.PARQUET")
    assert rows_of(tmp_path / "X.PARQUET") == rows


def test_parquet_is_read_in_parts_in_order(tmp_path: Path) -> None:
    pd.DataFrame({"text": [f"t{number}" for number in range(150_000)]}).to_parquet(tmp_path / "x.parquet")
    places = [place for place, row in read_rows(tmp_path / "x.parquet") if row["text"] == "t140000"]
    assert places == [f"{tmp_path / 'x.parquet'}, row 140001"]


def test_a_cell_may_be_longer_than_the_csv_module_takes(tmp_path: Path) -> None:
    long = "word " * 60_000
    write_csv(tmp_path / "x.csv", [{"text": long, "note": "", "label": "1"}], ",")
    assert rows_of(tmp_path / "x.csv")[0]["text"] == long


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_columns_without_a_name_are_no_columns(tmp_path: Path, suffix: str) -> None:
    separator = {"csv": ",", "tsv": "\t"}[suffix]
    (tmp_path / f"x.{suffix}").write_text("\n".join(s.replace(",", separator) for s in [",text,,", "0,a,,", "1,b,,"]))
    assert rows_of(tmp_path / f"x.{suffix}") == [{"text": "a"}, {"text": "b"}]


def test_the_separator_is_found_though_texts_hold_others(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text;label\nGood, really, good | fine;1\nBad, so bad;0\n")
    assert rows_of(tmp_path / "x.csv") == [
        {"text": "Good, really, good | fine", "label": "1"},
        {"text": "Bad, so bad", "label": "0"},
    ]
    (tmp_path / "x.csv").write_text('"first, and only";label\n"a ""b""; c";1\n')
    assert rows_of(tmp_path / "x.csv") == [{"first, and only": 'a "b"; c', "label": "1"}]


def test_a_separator_that_is_named_holds(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a|b;c\n1|2;3\n")
    assert rows_of(tmp_path / "x.csv", "bar") == [{"a": "1", "b;c": "2;3"}]
    assert rows_of(tmp_path / "x.csv", ";") == [{"a|b": "1|2", "c": "3"}]


def test_a_tsv_has_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text('text\tlabel\n"Lovely" is the word\t1\nAn "unbalanced quote\t0\n"all of it"\t1\n')
    assert [row["text"] for row in rows_of(tmp_path / "x.tsv")] == [
        '"Lovely" is the word',
        'An "unbalanced quote',
        '"all of it"',
    ]


WRONG = [
    ("x.csv", b'text,label\n"a\nb",1\n"never closed,1\nx,2\n', "x.csv, line 4: a quote is opened and never closed."),
    (
        "x.csv",
        b'text,label\n\n"a\nb",1\nc,2,3\n',
        "x.csv, line 5: 3 columns where the header has 2 (columns divided by",
    ),
    ("x.csv", b'text,label\n"a\nb,1\n c",1,2\n', "x.csv, line 2: 3 columns"),
    ("x.csv", b'text,label\n"Lovely" is the word,1\n', "x.csv, line 2: a quoted cell goes on after its closing quote"),
    ("x.csv", b"text,label,text\na,1,b\n", "x.csv: two columns are named 'text'."),
    ("x.csv", b"I like it a lot,1\nI do not like it,0\n", "lack a header?"),
    ("x.csv", b"text,label\na\0b,1\n", "x.csv, line 2: holds a NUL character. Convert the file to UTF-8"),
    (
        "x.tsv",
        b"text\tlabel\nab\t1\t2\n",
        "x.tsv, line 2: 3 columns where the header has 2 (columns divided by tabs; a tsv",
    ),
    ("x.tsv", "text\tlabel\nä\t1\n".encode("latin-1"), "x.tsv, line 2: not UTF-8."),
    ("x.jsonl", '{"text": "a"}'.encode("utf-16"), "x.jsonl, line 1: holds a NUL"),
    ("x.jsonl", b'{"text": "a", "text": "b"}\n', "x.jsonl, line 1: not a JSON object ('text' stands there twice)."),
    ("x.jsonl", b"[" * 100_000, "x.jsonl, line 1: not a JSON object ("),
    ("x.json", b'[{"text": "a"},\n {"text": }]', "x.json, line 2: not JSON (Expecting value)."),
    ("x.json", b'[{"text": "a", "label": 1}, 3]', "x.json, row 2: not a JSON object but int."),
    ("x.csv.gz", b"text,label\n", "x.csv.gz cannot be read: Not a gzipped file"),
    ("x.csv.gz", gzip.compress(b"", mtime=0)[:10] + b"\x07damaged", "x.csv.gz cannot be read: Error -3"),
]


@pytest.mark.parametrize(("name", "content", "said"), WRONG, ids=[f"{n}: {s}" for n, _, s in WRONG])
def test_what_is_wrong_is_named_by_the_line_where_its_row_begins(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(
            task_of(labels=["0", "1"]),
            data_of(path=str(tmp_path / name)),
            ["0", "1"],
        )
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_what_python_cannot_hold_of_a_parquet_file_is_one_line(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    bytes_as_text = pa.array([b"a", b"\xff"]).view(pa.string())
    far = pa.array([0, 2**30], pa.int32()).cast(pa.date32())
    for column, said in ((bytes_as_text, "can't decode byte 0xff"), (far, "days=1073741824")):
        pyarrow.parquet.write_table(pa.table({"text": ["a", "b"], "more": column}), tmp_path / "x.parquet")
        with pytest.raises(UserError, match=f"x.parquet: not a parquet file that can be read .*{said}"):
            rows_of(tmp_path / "x.parquet")


def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UserError, match="two columns are named 'text'"):
        rows_of(tmp_path / "x.parquet")


# --- a row's texts ---------------------------------------------------------------------------------------------------

NESTED = {
    "target": {"span1_text": "a", "deep.er": {"x": "b"}},
    "target.span1_index": "c",
    "passage": {"questions": [{"question": "d"}, {"question": "e"}]},
    "a.b": {"c": "f"},
    "a": {"b.c": "g", "b": {"c": "h"}},
    "0": "i",
    "nothing": None,
}
FOUND = {
    "target.span1_text": "a",
    "target.deep.er.x": "b",
    "target.span1_index": "c",
    "passage.questions.0.question": "d",
    "passage.questions.1.question": "e",
    "a.b.c": "f",
    "0": "i",
    "nothing": None,
}


@pytest.mark.parametrize("path", FOUND)
def test_a_path_leads_into_a_row_and_a_column_with_a_dot_comes_first(path: str) -> None:
    assert find(NESTED, path) == (True, FOUND[path])


@pytest.mark.parametrize(
    "path",
    [
        "target.span2_text",
        "passage.questions.2.question",
        "passage.questions.-1",
        "x",
        ".",
        "nothing.x",
        "target.",
        "passage.questions.x",
    ],
)
def test_a_path_that_leads_nowhere_is_not_found(path: str) -> None:
    assert find(NESTED, path) == (False, None)


def reader(**fields: Any) -> FieldReader:
    return FieldReader(task_of(fields=fields))


def test_the_first_of_several_places_that_a_row_has_is_read() -> None:
    span = reader(span=["span1_text", "target.span1_text"])
    assert span.read({"span1_text": "hub", "target": {"span1_text": "file"}}, "") == {"span": "hub"}
    assert span.read({"target": {"span1_text": "file"}}, "") == {"span": "file"}
    assert span.read({"target": None, "span": "own"}, "") == {"span": "own"}, "a field's own name comes first"


def test_a_map_of_values_says_the_text() -> None:
    link = reader(link={"column": "question", "values": {"cause": "because", "effect": "so", 1: "one"}})
    assert [link.read({"question": value}, "")["link"] for value in ("cause", "effect", 1.0, "1", None)] == [
        "because",
        "so",
        "one",
        "one",
        "",
    ]
    assert link.read({"question": "cause", "link": "raw"}, "") == {"link": "because"}
    with pytest.raises(
        UserError,
        match=r"row 3: the column 'question' holds 'efect'; its values are cause, effect, 1\. Did you mean 'effect'",
    ):
        link.read({"question": "efect"}, "row 3")


def test_a_users_own_columns_come_before_the_tasks() -> None:
    task = task_of(fields={"text": "sentence"})
    own = FieldReader(task, data_of(fields={"text": "review.body"}))
    assert own.read({"text": "a", "sentence": "b", "review": {"body": "c"}}, "") == {"text": "c"}
    assert FieldReader(task).read({"text": "a", "sentence": "b"}, "") == {"text": "a"}
    assert FieldReader(task).read({"sentence": "b"}, "") == {"text": "b"}
    with pytest.raises(UserError, match=r"no column 'review.body' for the field 'text'; there are text"):
        own.check({"text": "a"}, "x.csv")


@pytest.mark.parametrize(
    "written",
    [
        [],
        {},
        {"column": "x"},
        {"column": "x", "values": {}},
        None,
        True,
        " ",
        {"column": "x", "values": {"a": True}},
        {"column": "x", "values": {1: "a", "1.0": "b"}},
        [["a", None]],
    ],
)
def test_a_field_written_in_no_known_way_is_refused_by_its_key(written: Any) -> None:
    with pytest.raises(UserError, match=r"^task\.fields\.text"):
        reader(text=written)


class NAType:
    """As pandas calls it."""


@pytest.mark.parametrize(
    "value", [None, float("nan"), "", "  \n", NAType(), pd.NA, pd.NaT, pd.Series([None], dtype=float)[0]]
)
def test_null_nan_and_blank_are_no_text(value: Any) -> None:
    assert not as_text(value, "x").strip()


@pytest.mark.parametrize("value", [["a"], {"a": 1}, ("a",), b"\xff", pd.Series(["a"])])
def test_lists_mappings_and_bytes_are_no_text(value: Any) -> None:
    with pytest.raises(UserError, match=r"^row 3 is not text"):
        as_text(value, "row 3")


def test_numbers_are_text_and_halves_of_a_pair_are_replaced() -> None:
    assert [
        as_text(value, "") for value in (3, 1.5, True, b"caf\xc3\xa9", "a\ud800b", "\ud83d\ude00", "nan", "null")
    ] == [
        "3",
        "1.5",
        "True",
        "café",
        "a\ufffdb",
        "😀",
        "nan",
        "null",
    ]


def test_equal_texts_are_equal_without_regard_to_white_space() -> None:
    assert text_key({"a": " one  two\n"}) == text_key({"a": "one two"}) != text_key({"a": "one Two"})


def test_a_notebook_gives_a_text_or_a_mapping() -> None:
    one, two = reader(text="text"), reader(a="a", b="b")
    assert one.read_text("x", "text 0") == one.read_text({"text": "x"}, "text 0") == {"text": "x"}
    assert two.read_text({"a": "x", "b": None}, "text 0") == {"a": "x", "b": ""}
    with pytest.raises(UserError, match="text 3: the fields are a, b"):
        two.read_text("x", "text 3")
    with pytest.raises(UserError, match="text 3: no column 'b'"):
        two.read_text({"a": "x"}, "text 3")
    with pytest.raises(UserError, match="text 3 is not text but list"):
        one.read_text(["x"], "text 3")
