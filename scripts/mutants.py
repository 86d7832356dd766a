"""Mutation testing: small faults are put into the code one at a time, and the tests are to notice.

    make mutants                    the faults of tests/mutants/, and 200 drawn at random: a night on two cores
    make mutants N=40               the same with 40 drawn: an evening
    make mutants N=0                the faults of tests/mutants/ alone

The faults drawn are cosmic-ray's (its operators, one place of the code each); those of tests/mutants/ are patches of
faults that once passed unnoticed. Every fault is put into a copy of the tree, so that tests which start processes meet
it too, and only the tests are run that reached its lines when the suite was last recorded (coverage's contexts, also
of the processes that a test starts), the quickest first, until one fails. What the fixture of a whole module ran
counts for the first of its tests alone, so a survivor may be one that a later test would have noticed: read it.

What is found goes to outputs/mutants: survivors.md to be read, results.jsonl to go on from after an interruption.
"""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import difflib
import hashlib
import json
import math
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "outputs" / "mutants"
PATCHES = ROOT / "tests" / "mutants"
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["torch", "transformers", "pandas", "sklearn.metrics", "scipy.stats", "hydra", "hypothesis"]
)
NEED_VALUES = ("VariableReplacer", "VariableInserter")  # operators that want to be told which variable
# Coverage starts in every process of the suite by COVERAGE_PROCESS_START, those that a test starts included: there the
# context is the test that runs, by pytest's own variable; within pytest the plugin below switches it.
COVERAGE = """
[run]
source = pet_cli
branch = false
parallel = true
data_file = {folder}/.coverage
context = ${{PYTEST_CURRENT_TEST-}}
"""
PLUGIN = """
import collections, json, pathlib
import coverage, pytest

seconds, failed = collections.Counter(), set()

def switch(context):
    running = coverage.Coverage.current()
    if running is not None:
        running.switch_context(context)

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    switch(item.nodeid)
    done = yield
    switch("")
    return done

def pytest_runtest_logreport(report):
    seconds[report.nodeid] += report.duration
    if report.failed:
        failed.add(report.nodeid)

def pytest_sessionfinish(session):
    running = coverage.Coverage.current()
    if running is not None:
        running.stop()
        running.save()
    if not hasattr(session.config, "workerinput"):
        found = {"seconds": seconds, "failed": sorted(failed)}
        pathlib.Path("recorded.json").write_text(json.dumps(found))
"""


@dataclass(frozen=True)
class Mutant:
    """One fault: a name, the text of a patch, and the lines of the original that it touches."""

    name: str
    patch: str
    lines: tuple[tuple[str, int], ...]


@dataclass
class Result:
    """What became of a mutant.

    Attributes:
        status: `killed`; `survived`; `not reached` by any test; `does not load`: the tests cannot be collected with it,
            which is no test's doing; `does not apply`: the patch is of other code.
        by: the test that failed first.
        tests: how many reach it.
        code: the recording of the code and tests that it was judged by.
    """

    name: str
    status: str
    by: str | None
    seconds: float
    tests: int
    patch: str
    code: str = ""


# --- the faults ----------------------------------------------------------------------------------------------------


def patches() -> Iterator[Mutant]:
    """The faults of tests/mutants/, one patch file each."""
    for path in sorted(PATCHES.glob("*.patch")):
        text = path.read_text(encoding="utf-8")
        yield Mutant(path.stem, text, tuple(touched(text)))


def touched(patch: str) -> Iterator[tuple[str, int]]:
    """The lines of the original that a unified diff takes away, or stands beside where it only adds."""
    file, line = "", 0
    for text in patch.splitlines():
        if text.startswith("--- "):
            file = text[4:].split("\t")[0].removeprefix("a/")
        elif match := re.match(r"@@ -(\d+)", text):
            line = int(match[1])
        elif text.startswith("+") and not text.startswith("+++"):
            yield file, max(1, line - 1)
        elif text.startswith("-"):
            yield file, line
            line += 1
        elif text.startswith(" "):
            line += 1


def drawn(n: int, seed: int) -> Iterator[Mutant]:
    """Faults at random: a place of the code each, any of cosmic-ray's operators that fit there."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    names = [name for name in plugins.operator_names() if not name.endswith(NEED_VALUES)]
    operators = {name: plugins.get_operator(name)() for name in names}
    places: dict[tuple[str, int, int], list[tuple[str, int]]] = {}
    for path in sorted((ROOT / "pet_cli").rglob("*.py")):
        nodes = list(ast_nodes(get_ast(path.read_text(encoding="utf-8"))))
        for name, operator in operators.items():
            occurrence = 0
            for node in nodes:
                for start, _ in operator.mutation_positions(node):
                    places.setdefault((str(path.relative_to(ROOT)), *start), []).append((name, occurrence))
                    occurrence += 1
    order = sorted(places)
    random.Random(seed).shuffle(order)
    draw = random.Random(seed + 1)
    found = 0
    for file, line, column in order:
        if found == n:
            return
        name, occurrence = draw.choice(places[file, line, column])
        before = (ROOT / file).read_text(encoding="utf-8")
        after = mutate_code(before, operators[name], occurrence)
        if after is None or same_program(before, after):
            continue
        found += 1
        kind = name.rpartition("/")[2]
        yield Mutant(f"{file}:{line}:{column} {kind}", diff(file, before, after), ((file, line),))


def same_program(before: str, after: str) -> bool:
    """Whether two sources differ in annotations alone, which nothing evaluates, or the second is no program."""
    try:
        return ast.dump(_Bare().visit(ast.parse(before))) == ast.dump(_Bare().visit(ast.parse(after)))
    except SyntaxError:
        return True


class _Bare(ast.NodeTransformer):
    """Takes the annotations of arguments, returns and names away, and the options of dataclasses (frozen, slots)."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = []
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def diff(file: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{file}", f"b/{file}", n=3
    )
    return "".join(lines)


# --- which tests reach a line ---------------------------------------------------------------------------------------


class Reach:
    """Which tests run a line, and how long each takes, from a recorded run of the whole suite."""

    def __init__(self, recorded: Path) -> None:
        from coverage import CoverageData

        self.data = CoverageData(str(recorded / "coverage"))
        self.data.read()
        self.seconds: dict[str, float] = json.loads((recorded / "seconds.json").read_text())
        self.base = next(path for path in self.data.measured_files() if path.endswith("/pet_cli/__init__.py"))
        self.base = self.base.removesuffix("pet_cli/__init__.py")
        self._lines: dict[str, dict[int, set[str]]] = {}

    def tests(self, lines: Sequence[tuple[str, int]]) -> list[str]:
        """The tests that run any of some lines, the quickest first."""
        found: set[str] = set()
        for file, line in lines:
            if not file.endswith(".py"):
                return quickest_first(self.seconds)  # a file that tests read, no lines
            by_line = self._contexts(file)
            first = function_of((ROOT / file).read_text(encoding="utf-8"), line)
            if first is not None:
                # A statement of several lines is not recorded at each of them.
                found |= by_line.get(max((known for known in by_line if first <= known <= line), default=0), set())
            else:  # run when the module is loaded, for whatever uses it
                found |= set().union(*by_line.values()) or set(self.seconds)
        return quickest_first({test: self.seconds[test] for test in found if test in self.seconds})

    def _contexts(self, file: str) -> dict[int, set[str]]:
        """The tests that ran each line of a file."""
        if file not in self._lines:
            recorded = self.data.contexts_by_lineno(self.base + file)
            self._lines[file] = {line: {test_of(one) for one in contexts if one} for line, contexts in recorded.items()}
        return self._lines[file]


def test_of(context: str) -> str:
    """The test's id: as it is within pytest, with what it was at (`… (call)`) in a process that a test starts."""
    return re.sub(r" \((setup|call|teardown)\)$", "", context)


def function_of(source: str, line: int) -> int | None:
    """The first line of the body of the function that runs a line when it is called; None where its module does."""
    starts = [
        node.body[0].lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body[0].lineno <= line <= (node.end_lineno or line)
    ]
    return max(starts, default=None)


def quickest_first(seconds: Mapping[str, float]) -> list[str]:
    """Tests in an order that finds a failure soon: those about equally quick together, file by file among them.

    A fixture of a module is made anew wherever tests of another module stood between.
    """

    def place(test: str) -> tuple[int, str, float]:
        return max(0, math.ceil(math.log(max(seconds[test], 1e-6) / 0.1, 4))), test.partition("::")[0], seconds[test]

    return sorted(seconds, key=place)


def record(workers: int, stale: bool = False) -> Path:
    """Runs the suite once with coverage by test; taken again from outputs/mutants while code and tests are the same.

    Args:
        stale: takes the last recording though code or tests have changed since.
    """
    if stale and (folders := [path.parent for path in OUT.glob("recorded-*/seconds.json")]):
        return max(folders, key=lambda path: path.stat().st_mtime)
    digest = hashlib.sha256()
    for path in tracked():
        if path.suffix in (".py", ".yaml", ".toml", ".json"):
            digest.update(path.read_bytes())
    folder = OUT / f"recorded-{digest.hexdigest()[:12]}"
    if (folder / "seconds.json").is_file():
        return folder
    print("Recording which test reaches which line …", flush=True)
    copy = OUT / "copy-record"
    copy_tree(copy)
    (copy / ".coveragerc").write_text(COVERAGE.format(folder=copy))
    (copy / "recording.py").write_text(PLUGIN)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        "-n",
        str(workers),
    ]
    extra = {"COVERAGE_PROCESS_START": str(copy / ".coveragerc"), "PYTEST_PLUGINS": "recording"}
    done = subprocess.run(command, cwd=copy, env={**environment(copy), **extra}, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"The tests do not run without a fault:\n{done.stdout[-2000:]}")
    recorded = json.loads((copy / "recorded.json").read_text())
    if recorded["failed"]:
        # Such a test would kill every fault that it meets.
        print(f"Left out, since they fail without a fault: {', '.join(recorded['failed'])}")
    seconds = {
        test: taken
        for test, taken in recorded["seconds"].items()
        # The tests of the patches themselves would notice each that is put in.
        if test not in recorded["failed"] and not test.startswith("tests/test_mutants.py")
    }
    if len(recorded["failed"]) > len(seconds) // 20:
        sys.exit(f"The tests do not pass without a fault:\n{done.stdout[-2000:]}")
    from coverage import Coverage

    combined = Coverage(data_file=str(copy / "combined"), config_file=False)
    combined.combine([str(path) for path in copy.glob(".coverage.*")])
    combined.save()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(copy / "combined", folder / "coverage")
    (folder / "seconds.json").write_text(json.dumps(seconds))
    shutil.rmtree(copy)
    return folder


# --- running --------------------------------------------------------------------------------------------------------


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in sorted(listed.decode().split("\0")) if name and (ROOT / name).is_file()]


def copy_tree(copy: Path) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    for path in tracked():
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def environment(copy: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}


class Chosen:
    """A plugin of pytest: runs the chosen tests in the given order, and writes what became of them to a file.

    They are chosen among what is collected, not named on the command line, where one that the fault took away (a case
    of a parametrised test) would be an error of its own.
    """

    def __init__(self, tests: Sequence[str], verdict: Path) -> None:
        self.place = {test: number for number, test in enumerate(tests)}
        self.verdict = verdict
        self.ran = 0
        self.failed: str | None = None
        self.broken: str | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        kept = [item for item in items if item.nodeid in self.place]
        items[:] = sorted(kept, key=lambda item: self.place[item.nodeid])

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.broken = self.broken or report.nodeid

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.ran += report.when == "call"
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_sessionfinish(self) -> None:
        self.verdict.write_text(json.dumps({"ran": self.ran, "failed": self.failed, "broken": self.broken}))


def decided(verdict: Mapping[str, Any] | None) -> tuple[str, str | None]:
    """A mutant's status and what killed it, of what `Chosen` wrote; None where the process ended without a word."""
    if verdict is None:
        return "killed", "the tests' process ended"
    if verdict["failed"] is not None:
        return "killed", verdict["failed"]
    if verdict["broken"] is not None:
        return "does not load", verdict["broken"]
    return ("survived" if verdict["ran"] else "not reached"), None


def _tests_in(copy: Path, tests: Sequence[str], stop: bool) -> None:
    """What a process of the fork server does: runs tests within a copy, its output in a file there."""
    os.setsid()
    os.chdir(copy)
    os.environ.update(environment(copy))
    sys.path[:] = [
        str(copy),
        *(path for path in sys.path if not Path(path or ".").resolve().is_relative_to(ROOT / "scripts")),
    ]
    with (copy / "output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        options = ["-m", "", "-q", "-p", "no:cacheprovider", "--tb=short", *(["-x"] if stop else [])]
        pytest.main([*options, *files], plugins=[Chosen(tests, copy / "verdict.json")])


def run_tests(copy: Path, tests: Sequence[str], limit: float, stop: bool = True) -> dict[str, Any] | None:
    """What `Chosen` says of tests within a copy; None where their process ended without a word.

    Processes are forked from one that has imported torch and its kin already, which takes longer than most tests.

    Raises:
        TimeoutError: they ran past their time.
    """
    (copy / "verdict.json").unlink(missing_ok=True)
    process = _SERVER.Process(target=_tests_in, args=(copy, tests, stop))
    process.start()
    process.join(limit)
    if process.is_alive():
        os.killpg(int(process.pid or 0), signal.SIGKILL)
        process.join()
        raise TimeoutError
    path = copy / "verdict.json"
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return found


def judge(mutant: Mutant, tests: Sequence[str], copy: Path, limit: float) -> Result:
    """Puts a fault into a copy and runs the tests that reach it, until one fails."""

    def result(status: str, by: str | None = None) -> Result:
        return Result(mutant.name, status, by, round(time.monotonic() - start, 1), len(tests), mutant.patch)

    start = time.monotonic()
    file = mutant.lines[0][0]
    after = patched(mutant.patch, copy, copy / "patched")
    if after is None:
        return result("does not apply")
    if not tests:
        return result("not reached")
    shutil.copy2(copy / file, copy / "before")
    try:
        (copy / file).write_text(after, encoding="utf-8")
        return result(*decided(run_tests(copy, tests, limit)))
    except TimeoutError:
        return result("killed", "ran past its time")
    finally:
        shutil.copy2(copy / "before", copy / file)  # with its time, by which Python knows that it is compiled


def patched(patch: str, tree: Path, scratch: Path) -> str | None:
    """The text of the one file that a patch changes, with the patch applied; None where it does not apply.

    Args:
        tree: where the file lies; nothing of it is changed.
        scratch: a file to be written.
    """
    command = ["patch", "-p1", "-s", "-F3", "--batch", "--forward", "-r", "-", "-o", str(scratch)]
    done = subprocess.run(command, cwd=tree, input=patch, text=True, capture_output=True)
    return scratch.read_text(encoding="utf-8") if done.returncode == 0 else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int, nargs="?", default=200, help="how many faults to draw at random")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one fault")
    parser.add_argument("--only", default="", help="only faults whose name holds this")
    parser.add_argument(
        "--stale", action="store_true", help="choose tests by the last recording, whatever changed since"
    )
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the fork server, and so of all that it forks
    OUT.mkdir(parents=True, exist_ok=True)
    recorded = record(options.workers, options.stale)
    reach = Reach(recorded)
    wanted = [*patches(), *drawn(options.n, options.seed)]
    wanted = [mutant for mutant in wanted if options.only in mutant.name]
    log = OUT / "results.jsonl"
    known: dict[str, Result] = {}
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            old = Result(**json.loads(line))
            if old.code == recorded.name:
                known[old.patch] = old
    copies = [OUT / f"copy-{number}" for number in range(options.workers)]
    for copy in copies:
        copy_tree(copy)
    results = []
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool, log.open("a", encoding="utf-8") as stream:
        free = list(copies)

        def run(mutant: Mutant) -> Result:
            old = known.get(mutant.patch)
            if old is not None and old.status == "killed":
                return old
            tests = reach.tests(mutant.lines)
            copy = free.pop()
            try:
                found = judge(mutant, tests, copy, options.limit)
            finally:
                free.append(copy)
            found.code = recorded.name
            stream.write(json.dumps(asdict(found)) + "\n")
            stream.flush()
            return found

        for number, result in enumerate(pool.map(run, wanted), start=1):
            results.append(result)
            by = f" by {result.by}" if result.by else ""
            print(f"{number}/{len(wanted)} {result.status}{by}: {result.name} ({result.seconds} s)", flush=True)
    in_doubt(results, copies[0], options.limit)
    for copy in copies:
        shutil.rmtree(copy)
    return summary(results)


def in_doubt(results: Sequence[Result], copy: Path, limit: float) -> None:
    """Runs the tests that killed once more without a fault: one that fails then has killed nothing."""
    names = sorted({one.by for one in results if one.by is not None and "::" in one.by})
    while names:
        verdict = run_tests(copy, names, limit)
        if verdict is None or verdict["failed"] is None:
            return
        names.remove(verdict["failed"])
        for one in results:
            if one.by == verdict["failed"]:
                one.status = "in doubt"


def summary(results: Sequence[Result]) -> int:
    """Prints the rates of both kinds and writes survivors.md."""
    own = {path.stem for path in PATCHES.glob("*.patch")}
    lines = ["# Faults that no test noticed", ""]
    for title, group in (
        ("faults of tests/mutants", [one for one in results if one.name in own]),
        ("faults at random", [one for one in results if one.name not in own]),
    ):
        counts = Counter(one.status for one in group)
        judged = len(group) - counts["does not load"]
        if judged:
            rest = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()) if status != "killed")
            mean = sum(one.seconds for one in group) / len(group)
            print(
                f"{title}: {counts['killed']} of {judged} killed ({counts['killed'] / judged:.0%})"
                f"{f'; {rest}' if rest else ''}; {mean:.0f} s each"
            )
        for one in group:
            if one.status != "killed":
                heading = f"## {one.name}: {one.status}, {one.tests} tests"
                lines += [heading, "", "```diff", one.patch.rstrip(), "```", ""]
    (OUT / "survivors.md").write_text("\n".join(lines), encoding="utf-8")
    print(f"The survivors: {OUT / 'survivors.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
