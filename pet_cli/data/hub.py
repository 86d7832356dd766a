"""A data set of the hub: its splits as tables, and its own names for its label numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pet_cli.config.schema import DataConfig, TaskConfig
from pet_cli.data.tables import Table, read_table
from pet_cli.errors import UserError, choices

_REASONS = (
    ("scripts are no longer supported", "is a loading script, which the library no longer runs"),
    ("gated", "is gated: ask for access on its page, and log in with huggingface-cli login"),
    ("BuilderConfig", "has no such configuration"),
    ("Unknown split", "has no such split"),
    ("doesn't exist", "does not exist on the hub"),
    ("not found", "is not on the hub"),
)


def tables(task: TaskConfig, data: DataConfig, without: Sequence[str] = ()) -> tuple[list[Table], list[str] | None]:
    """The splits of a task's data set on the hub but for some, and the names of its label numbers where it has them.

    Raises:
        UserError: the data set cannot be had, in one message that says why and what else to do.
    """
    from pet_cli.base import hub

    hub.prepare()
    import datasets

    datasets.disable_progress_bars()
    source = task.source
    loaded: dict[str, Any] = {}
    for ours, theirs in source.splits.items():
        if ours in without:
            continue
        try:
            loaded[ours] = datasets.load_dataset(source.hub, source.config, split=theirs, revision=source.revision)
        except Exception as error:  # the client raises a dozen kinds; all mean that the data are not to be had
            raise _refused(task, theirs, error) from None
    column = data.label or source.label or task.label
    names: list[str] | None = None
    found = []
    for name, rows in loaded.items():
        names = names or getattr(rows.features.get(column), "names", None)
        places = ((f"{source.hub} {name}, row {number}", row) for number, row in enumerate(rows))
        found.append(read_table(name, places, f"{source.hub} {name}", task, data, hub=True))
    return found, names


def _refused(task: TaskConfig, split: str, error: Exception) -> UserError:
    said = " ".join(str(error).split())
    kind = type(error).__name__
    why = next((reason for mark, reason in _REASONS if mark.lower() in f"{kind} {said}".lower()), None)
    asked = " ".join(str(part) for part in (task.source.hub, task.source.config, split) if part)
    why = f"{why} ({said[:160]})" if why else f"cannot be loaded from the hub ({kind}) and is not in its cache"
    columns = choices([*(str(column) for column in task.fields.values()), task.label])
    return UserError(
        f"task={task.name}: the data set {asked} {why}. Give local files instead, data.path=FOLDER, with columns "
        f"{columns}; or use task=reviews, which needs no network."
    )
