"""Settings of tasks, data and runs for the tests of the data room, with the defaults of the config files."""

from __future__ import annotations

from typing import Any

from pet_cli.config.schema import DataConfig, PetConfig, SourceConfig, TaskConfig
from pet_cli.config.scoring import WordsScoring
from pet_cli.config.tuning import FullTuning


def task_of(**values: Any) -> TaskConfig:
    """A task with one field, `text`."""
    source = SourceConfig(**values.pop("source", {}))
    return TaskConfig(**{"name": "t", "fields": {"text": "text"}, "source": source, **values})


def data_of(**values: Any) -> DataConfig:
    return DataConfig(**values)


def run_of(**values: Any) -> PetConfig:
    """A run that trains the whole model by a manual verbalizer."""
    return PetConfig(**{"tuning": FullTuning(), "scoring": WordsScoring(), **values})
