"""Mutation testing: small faults are put into the code one at a time, and the tests are to notice.

    make mutants                    the faults of tests/mutants/, and 200 drawn at random: a night on two cores
    make mutants N=40               the same with 40 drawn: an evening
    make mutants N=0                the faults of tests/mutants/ alone

The faults drawn are cosmic-ray's (its operators, one place of the code each); those of tests/mutants/ are patches of
faults that once passed unnoticed. Every fault is put into a copy of the tree, so that tests which start processes meet
it too, and only the tests are run that reached its lines when the suite was last recorded (coverage's contexts, also
of the processes that a test starts), the quickest first, until one fails.

What is found goes to outputs/mutants: survivors.md to be read, results.jsonl to go on from after an interruption.
"""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "outputs" / "mutants"
PATCHES = ROOT / "tests" / "mutants"
NEED_VALUES = ("VariableReplacer", "VariableInserter")  # operators that want to be told which variable
COVERAGE = """
[run]
source = pet_cli
branch = false
parallel = true
patch = subprocess
context = ${PYTEST_CURRENT_TEST-}
"""


@dataclass(frozen=True)
class Mutant:
    """One fault: a name, the text of a patch, and the lines of the original that it touches."""

    name: str
    patch: str
    lines: tuple[tuple[str, int], ...]


@dataclass
class Result:
    """What became of a mutant: `killed` (by which test), `survived`, `not reached`, or `does not apply`."""

    name: str
    status: str
    by: str | None
    seconds: float
    tests: int
    patch: str


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
    import difflib

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
        self._lines: dict[str, dict[int, list[str]]] = {}

    def tests(self, lines: tuple[tuple[str, int], ...]) -> list[str]:
        """The tests that run any of some lines, the quickest first."""
        found: set[str] = set()
        for file, line in lines:
            if not file.endswith(".py"):
                return self._all()  # a file that the tests read, no lines
            if file not in self._lines:
                self._lines[file] = self.data.contexts_by_lineno(self.base + file)
            by_line = self._lines[file]
            # A statement of several lines is recorded at its first.
            contexts = by_line.get(max((known for known in by_line if known <= line), default=0), [])
            if "" in contexts or (not contexts and not by_line):
                return self._all()  # run when the module is loaded, before any test
            found |= {self._test(context) for context in contexts}
        return sorted((test for test in found if test in self.seconds), key=self._cost)

    def _all(self) -> list[str]:
        return sorted(self.seconds, key=self._cost)

    def _cost(self, test: str) -> tuple[float, str]:
        return self.seconds[test], test

    @staticmethod
    def _test(context: str) -> str:
        """`tests/a.py::test|run` as pytest-cov names it, `tests/a.py::test (call)` as a started process does."""
        return re.sub(r"\|(setup|run|teardown)$| \((setup|call|teardown)\)$", "", context)


def record(workers: int) -> Path:
    """Runs the suite once with coverage by test; taken again from outputs/mutants while code and tests are the same."""
    digest = hashlib.sha256()
    for path in tracked():
        if path.suffix in (".py", ".yaml", ".toml"):
            digest.update(path.read_bytes())
    folder = OUT / f"recorded-{digest.hexdigest()[:12]}"
    if (folder / "seconds.json").is_file():
        return folder
    print("Recording which test reaches which line …", flush=True)
    copy = OUT / "copy-record"
    copy_tree(copy)
    (copy / ".coveragerc").write_text(COVERAGE)
    report = copy / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers)]
    command += [
        "--cov=pet_cli",
        "--cov-context=test",
        "--cov-config=.coveragerc",
        "--cov-report=",
        f"--junitxml={report}",
    ]
    done = subprocess.run(command, cwd=copy, env=environment(copy), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"The tests do not pass without a fault:\n{done.stdout[-2000:]}")
    import xml.etree.ElementTree as tree

    seconds: dict[str, float] = {}
    for case in tree.parse(report).iter("testcase"):
        module = str(case.get("classname")).replace(".", "/") + ".py"
        seconds[f"{module}::{case.get('name')}"] = float(case.get("time") or 0)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(copy / ".coverage", folder / "coverage")
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
    return {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def judge(mutant: Mutant, tests: list[str], copy: Path, limit: float) -> Result:
    """Puts a fault into a copy and runs the tests that reach it, until one fails."""

    def result(status: str, by: str | None = None) -> Result:
        return Result(mutant.name, status, by, round(time.monotonic() - start, 1), len(tests), mutant.patch)

    start = time.monotonic()
    applied = subprocess.run(
        ["patch", "-p1", "-s", "-F3"], cwd=copy, input=mutant.patch, text=True, capture_output=True
    )
    try:
        if applied.returncode != 0:
            return result("does not apply")
        if not tests:
            return result("not reached")
        (copy / "chosen.txt").write_text("\n".join(tests))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", "@chosen.txt"]
        try:
            done = subprocess.run(
                command, cwd=copy, env=environment(copy), capture_output=True, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return result("killed", "ran past its time")
        if done.returncode == 0:
            return result("survived")
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
        return result("killed", failed[1] if failed else f"exit status {done.returncode}")
    finally:
        undo = [path for path in {file for file, _ in mutant.lines} if (ROOT / path).is_file()]
        for path in undo:
            shutil.copy2(ROOT / path, copy / path)
        for rest in (*copy.rglob("*.rej"), *copy.rglob("*.orig")):
            rest.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int, nargs="?", default=200, help="how many faults to draw at random")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one fault")
    parser.add_argument("--only", default="", help="only faults whose name holds this")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    reach = Reach(record(options.workers))
    wanted = [*patches(), *drawn(options.n, options.seed)]
    wanted = [mutant for mutant in wanted if options.only in mutant.name]
    log = OUT / "results.jsonl"
    known: dict[str, Result] = {}
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            old = Result(**json.loads(line))
            known[_mark(old.patch)] = old
    copies = [OUT / f"copy-{number}" for number in range(options.workers)]
    for copy in copies:
        copy_tree(copy)
    results = []
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool, log.open("a", encoding="utf-8") as stream:
        free = list(copies)

        def run(mutant: Mutant) -> Result:
            old = known.get(_mark(mutant.patch))
            if old is not None and old.status == "killed":
                return old
            tests = reach.tests(mutant.lines)
            copy = free.pop()
            try:
                found = judge(mutant, tests, copy, options.limit)
            finally:
                free.append(copy)
            stream.write(json.dumps(asdict(found)) + "\n")
            stream.flush()
            return found

        for number, result in enumerate(pool.map(run, wanted), start=1):
            results.append(result)
            by = f" by {result.by}" if result.by else ""
            print(f"{number}/{len(wanted)} {result.status}{by}: {result.name} ({result.seconds} s)", flush=True)
    for copy in copies:
        shutil.rmtree(copy)
    return summary(results)


def _mark(patch: str) -> str:
    return hashlib.sha256(patch.encode()).hexdigest()


def summary(results: list[Result]) -> int:
    """Prints the rates of both kinds and writes survivors.md."""
    own = {path.stem for path in PATCHES.glob("*.patch")}
    lines = ["# Faults that no test noticed", ""]
    for title, group in (
        ("faults of tests/mutants", [one for one in results if one.name in own]),
        ("faults at random", [one for one in results if one.name not in own]),
    ):
        killed = sum(one.status == "killed" for one in group)
        if group:
            print(f"{title}: {killed} of {len(group)} killed ({killed / len(group):.0%})")
        for one in group:
            if one.status != "killed":
                lines += [
                    f"## {one.name}: {one.status}, {one.tests} tests",
                    "",
                    "```diff",
                    one.patch.rstrip(),
                    "```",
                    "",
                ]
    (OUT / "survivors.md").write_text("\n".join(lines), encoding="utf-8")
    print(f"The survivors: {OUT / 'survivors.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
