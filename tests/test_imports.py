"""Imports go one way: no module of the package needs, now or later, one that needs it."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pet_cli

ROOT = Path(pet_cli.__file__).parent


def name_of(path: Path) -> str:
    return ".".join(("pet_cli", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(node: ast.AST, modules: set[str]) -> set[str]:
    """The package's modules that a module imports, at its top or inside a function."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and child.module:
            names = {f"{child.module}.{alias.name}" for alias in child.names}
            found |= names & modules or {child.module} & modules
        elif isinstance(child, ast.Import):
            found |= {alias.name for alias in child.names} & modules
        elif not only_for_types(child):
            found |= imports(child, modules)
    return found


def test_no_module_imports_one_that_imports_it() -> None:
    files = {name_of(path): path for path in ROOT.rglob("*.py")}
    graph = {name: imports(ast.parse(path.read_text()), set(files)) for name, path in files.items()}
    assert len(graph) > 50 and "pet_cli.run" in graph["pet_cli.execute"]
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
    assert order.index("pet_cli.data") < order.index("pet_cli.run") < order.index("pet_cli.hydra_app")
