"""The rooms of the package stand in one order, and a room imports only rooms above it."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pet_cli

ROOT = Path(pet_cli.__file__).parent

ROOMS = (
    "version errors",
    "base",
    "prompts.template verbalizers.words tasks.metrics tasks.targets tasks.readers",
    "config",
    "tasks",
    "data",
    "prompts",
    "models",
    "verbalizers",
    "tuning",
    "training",
    "runs",
    "methods",
    "ensembles",
    "search",
    "execute",
    "results",
    "choice",
    "report",
    "api",
    "commands",
)
"""A module belongs to the room that names it, or else to the one that names the package it lies in."""

ONLY_IN_COMMANDS = ("hydra", "argparse", "rich.table")
TORCH_FREE = (
    "config",
    "tasks",
    "data",
    "results",
    "models.places",
    "runs.states",
    "runs.store",
    "choice.scores",
    "choice.winners",
    "commands.compose",
    "commands.sweep",
    "commands.train",
    "commands.search",
)
HEAVY = ("torch", "transformers", "datasets", "peft", "sklearn", "scipy", "pandas", "matplotlib")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(path): path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"}


def room(module: str) -> int:
    """The place of a module's room."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        for place, names in enumerate(ROOMS):
            if ".".join(parts[:length]) in names.split():
                return place
    raise AssertionError(f"{module} lies in no room")


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(node: ast.AST, everywhere: bool = True) -> set[str]:
    """All that a module imports, dotted, at its top and (`everywhere`) inside its functions."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and child.module:
            names = {f"{child.module}.{alias.name}" for alias in child.names}
            modules = {name for name in names if name.removeprefix("pet_cli.") in FILES}
            found |= modules or {child.module, *names}
        elif isinstance(child, ast.Import):
            found |= {alias.name for alias in child.names}
        elif not only_for_types(child) and (everywhere or not isinstance(child, (ast.FunctionDef, ast.Lambda))):
            found |= imports(child, everywhere)
    return found


def own(found: set[str]) -> set[str]:
    """The package's modules among what is imported."""
    return {name.removeprefix("pet_cli.") for name in found if name.startswith("pet_cli.")} & set(FILES)


TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_room_imports_only_rooms_above_it(module: str) -> None:
    if module == "__main__":
        return
    for other in own(imports(TREES[module])):
        assert room(other) <= room(module), f"{module} imports {other}, which stands below it"


def test_no_module_imports_one_that_imports_it() -> None:
    graph = {name: own(imports(tree)) - {name} for name, tree in TREES.items()}
    assert len(graph) > 50 and "methods.base" in graph["methods.prompted"]
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("library", ONLY_IN_COMMANDS)
def test_what_belongs_to_the_command_line_is_known_there_alone(library: str) -> None:
    users = {name for name, tree in TREES.items() if any(f"{one}.".startswith(f"{library}.") for one in imports(tree))}
    assert {name.split(".")[0] for name in users} <= {"commands"}, users


@pytest.mark.parametrize("place", TORCH_FREE)
def test_no_heavy_library_is_loaded_where_a_mistake_must_answer_at_once(place: str) -> None:
    modules = [name for name in FILES if f"{name}.".startswith(f"{place}.")]
    assert modules
    for name in modules:
        loaded = {one.split(".")[0] for one in imports(TREES[name], everywhere=False)}
        assert not loaded & set(HEAVY), (name, loaded & set(HEAVY))
