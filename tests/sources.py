"""Settings of tasks, data and runs for the tests of the data room, with the defaults of the config files."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from typing import Any

from pet_cli.config import files
from pet_cli.config.build import build, option, section
from pet_cli.config.schema import DataConfig, PetConfig, TaskConfig


def task_of(**values: Any) -> TaskConfig:
    """A task with one field, `text`."""
    source = {**files.read_base()["task"]["source"], **values.pop("source", {})}
    task: TaskConfig = option("task", "custom", **{"name": "t", "source": source, **values})
    return task


def data_of(**values: Any) -> DataConfig:
    data: DataConfig = section("data", **values)
    return data


def run_of(**values: Any) -> PetConfig:
    """A run that trains the whole model by a manual verbalizer."""
    return replace(copy.deepcopy(_run()), **values)


@functools.cache
def _run() -> PetConfig:
    return build({"task": "custom", "model": "random"})
