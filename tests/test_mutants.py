"""`scripts/mutants.py`: what a fault touches, which tests are run for it and what kills it; every patch applies."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import mutants  # noqa: E402


def test_the_lines_that_a_patch_touches_are_told_in_the_numbers_of_the_original() -> None:
    one = "--- a/pet_cli/one.py\n+++ b/pet_cli/one.py\n@@ -10,4 +10,4 @@\n same\n-old\n+new\n same\n"
    more = "@@ -20,3 +20,4 @@\n same\n+added\n same\n"
    two = "--- a/conf/two.yaml\n+++ b/conf/two.yaml\n@@ -1,2 +1,1 @@\n-gone\n same\n"
    touched = [("pet_cli/one.py", 11), ("pet_cli/one.py", 11), ("pet_cli/one.py", 20), ("conf/two.yaml", 1)]
    assert list(mutants.touched(one + more + two)) == touched


def test_a_patch_made_by_diff_touches_the_line_that_it_changes() -> None:
    before = "".join(f"line {number}\n" for number in range(1, 20))
    patch = mutants.diff("pet_cli/one.py", before, before.replace("line 7\n", "another\n"))
    assert set(mutants.touched(patch)) == {("pet_cli/one.py", 7)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(a: int) -> int:\n    return a\n", "def f(a: str) -> str:\n    return a\n"),
        ("a: int | None = 1\n", "a: int & None = 1\n"),
        ("@dataclass(frozen=True)\nclass A:\n    b: int\n", "@dataclass(frozen=False)\nclass A:\n    b: int\n"),
        ("a = 1  # one\n", "a = 1  # two\n"),
        ("a = 1\n", "a = = 1\n"),
    ],
)
def test_annotations_comments_and_what_is_no_program_are_no_faults(before: str, after: str) -> None:
    assert mutants.same_program(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = 1\n", "a = 2\n"),
        ("def f(a: int = 1) -> int:\n    return a\n", "def f(a: int = 2) -> int:\n    return a\n"),
        ("a: int = 1\n", "a: int = 2\n"),
        ("if a < b:\n    pass\n", "if a <= b:\n    pass\n"),
    ],
)
def test_what_is_computed_otherwise_is_a_fault(before: str, after: str) -> None:
    assert not mutants.same_program(before, after)


def test_a_line_is_of_a_function_or_of_the_module() -> None:
    source = (
        "A = 1\n\n@cached\ndef f(\n    a=A,\n):\n    def g():\n        return a\n    return g\n\nclass B:\n    c = 2\n"
    )
    told = {line: mutants.function_of(source, line) for line in range(1, 13)}
    assert {line: first for line, first in told.items() if first is not None} == {7: 7, 8: 8, 9: 7}


@pytest.mark.parametrize(
    "test", ["tests/a.py::b", "tests/a.py::b[c - d (e) :: f]", "tests/a.py::b[x/y|setup]", "tests/a.py::b[(call)]"]
)
def test_a_test_is_known_again_in_the_processes_that_it_starts(test: str) -> None:
    assert mutants.test_of(test) == test
    assert mutants.test_of(f"{test} (call)") == mutants.test_of(f"{test} (setup)") == test


def test_the_quickest_tests_come_first_and_those_of_a_file_together() -> None:
    seconds = {"b.py::slow": 9.0, "b.py::one": 0.02, "a.py::one": 0.03, "b.py::two": 0.05, "a.py::slow": 8.0}
    order = ["a.py::one", "b.py::one", "b.py::two", "a.py::slow", "b.py::slow"]
    assert mutants.quickest_first(seconds) == order


def test_the_chosen_tests_run_in_their_order_and_no_others() -> None:
    chosen = mutants.Chosen(["t.py::b[1 2]", "t.py::gone", "t.py::a"], Path())
    items: list[Any] = [SimpleNamespace(nodeid=f"t.py::{name}") for name in ("a", "b[1]", "b[1 2]")]
    chosen.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == ["t.py::b[1 2]", "t.py::a"]


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        ({"ran": 3, "failed": "t.py::a[b c]", "broken": None}, ("killed", "t.py::a[b c]")),
        ({"ran": 3, "failed": None, "broken": None}, ("survived", None)),
        ({"ran": 0, "failed": None, "broken": None}, ("not reached", None)),  # its tests are there no longer
        ({"ran": 0, "failed": None, "broken": "t.py"}, ("does not load", "t.py")),
        (None, ("killed", "the tests' process ended")),
    ],
)
def test_a_fault_is_killed_by_a_test_that_fails_and_by_nothing_else(
    verdict: dict[str, Any] | None, status: tuple[str, str | None]
) -> None:
    assert mutants.decided(verdict) == status


@pytest.mark.skipif(shutil.which("patch") is None, reason="there is no patch here")
def test_every_patch_of_a_fault_still_applies(tmp_path: Path) -> None:
    stale = []
    for mutant in mutants.patches():
        [file] = {file for file, _ in mutant.lines}
        after = mutants.patched(mutant.patch, ROOT, tmp_path / "patched")
        if after is None or after == (ROOT / file).read_text(encoding="utf-8"):
            stale.append(mutant.name)
    assert not stale, "made anew, or deleted where the code that they are of is gone"
