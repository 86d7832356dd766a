"""The notebook's way in: fit, predict, predict_proba. The same code as `pet train` underneath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.clock import Clock
from pet_cli.base.progress import Progress
from pet_cli.config import files as conf_files
from pet_cli.config.build import build
from pet_cli.config.checks import check
from pet_cli.data.examples import Example, Split
from pet_cli.errors import UserError, not_allowed
from pet_cli.methods.base import Context
from pet_cli.methods.prompted import PromptMethod, build_learner, fit
from pet_cli.prompts.template import parse_plain
from pet_cli.runs import store
from pet_cli.runs.session import Session

Text = str | Mapping[str, str]


class PromptClassifier:
    """A text classifier by prompt.

        clf = PromptClassifier(template="{text} It was {mask}.", verbalizer={"neg": "terrible", "pos": "great"})
        clf.fit(texts, labels).predict(new)

    Args:
        template: one line in the template language; its fields are the keys of the texts, where those are mappings.
        verbalizer: label -> word, or label -> words; its keys are the labels.
        model: hub id, local folder, `embedded` or `random`.
        tuning: a tuning mode by name, with its defaults from `conf/tuning`; `zero_shot` needs no `fit`.
        tuning_options: keys of the tuning mode that differ from its defaults.
        trainer: keys of `trainer.*`, such as `{"max_steps": 200, "learning_rate": 1e-5}`.
        combine: how several words of a label combine, `scoring.combine`.

    Raises:
        UserError: whatever `pet train` would refuse, in the same words.
    """

    def __init__(
        self,
        template: str,
        verbalizer: Mapping[Any, Any],
        model: str = "embedded",
        tuning: str = "full",
        *,
        tuning_options: Mapping[str, Any] | None = None,
        trainer: Mapping[str, Any] | None = None,
        combine: str = "mean",
        seed: int = 13,
        device: str = "auto",
        precision: str = "auto",
        progress: bool | None = None,
    ) -> None:
        fields = parse_plain(template).fields
        known = model if model in conf_files.options("model") else "custom"
        settings = {
            "task.fields": {name: name for name in fields},
            **({"model.name": model} if known == "custom" else {}),
            "scoring.combine": combine,
            "template": template,
            "verbalizer": {str(label): words for label, words in verbalizer.items()},
            "seed": seed,
            "device": device,
            "precision": precision,
            **{f"tuning.{key}": value for key, value in (tuning_options or {}).items()},
            **{f"trainer.{key}": value for key, value in (trainer or {}).items()},
        }
        self.config = build({"task": "custom", "model": known, "tuning": tuning}, settings)
        check(self.config)
        self.classes_ = list(verbalizer)
        self._progress = Progress(enabled=progress)
        self._session = Session()
        self._learner: Any = None

    def fit(self, texts: Sequence[Text], labels: Sequence[Any]) -> PromptClassifier:
        """Trains on all the examples given; starts from the pretrained weights each time."""
        if len(texts) != len(labels):
            raise UserError(f"fit: {len(texts)} texts but {len(labels)} labels.")
        if not texts:
            raise UserError("fit: no examples.")
        for label in labels:
            if label not in self.classes_:
                raise not_allowed("label", label, self.classes_)
        rows = self._rows(texts)
        examples = tuple(
            Example(number, row, self.classes_.index(label))
            for number, (row, label) in enumerate(zip(rows, labels, strict=True))
        )
        self._session = Session()
        self._learner = self._build()
        splits = {"train": Split("train", examples), "dev": Split("dev", ())}
        fit(self.config, self._learner, splits, Clock(), self._progress)
        return self

    def predict_proba(self, texts: Sequence[Text]) -> np.ndarray:
        """Probabilities `[texts, labels]`, columns in the order of `classes_`."""
        if self._learner is None:
            if self.config.tuning.trains:
                raise UserError("predict before fit: call fit(texts, labels), or use tuning='zero_shot'.")
            self._learner = self._build()
        rows = self._rows(texts)
        if not rows:
            return np.zeros((0, len(self.classes_)))
        probabilities: np.ndarray = self._learner.predict(self._learner.encode(rows)).softmax(dim=1).numpy()
        return probabilities

    def predict(self, texts: Sequence[Text]) -> list[Any]:
        """The most probable label of each text."""
        return [self.classes_[index] for index in self.predict_proba(texts).argmax(axis=1)]

    def score(self, texts: Sequence[Text], labels: Sequence[Any]) -> float:
        """The share of texts whose label is right."""
        return float(np.mean([got == gold for got, gold in zip(self.predict(texts), labels, strict=True)]))

    def save(self, folder: str | Path) -> None:
        """Writes a folder that `pet predict` and `PromptClassifier.load` read."""
        if self._learner is None:
            raise UserError("save before fit: there is nothing to save.")
        self._learner.save(Path(folder), whole=True)
        store.write_config(Path(folder), self.config)

    @classmethod
    def load(cls, folder: str | Path) -> PromptClassifier:
        """The classifier of a folder written by `save` or by `pet train`."""
        from pet_cli.runs.saved import saved_config

        own = cls.__new__(cls)
        own.config = saved_config(Path(folder))
        own._learner = PromptMethod.load(Path(folder), own.config, Context()).learner
        own.classes_ = list(own._learner.labels)
        own._progress = Progress(enabled=False)
        own._session = Session()
        return own

    def _build(self) -> Any:
        return build_learner(self.config, self._session.language_model(self.config), self._session)

    def _rows(self, texts: Sequence[Text]) -> list[Mapping[str, str]]:
        names = list(self.config.task.fields)
        rows: list[Mapping[str, str]] = []
        for text in texts:
            if isinstance(text, str):
                if len(names) != 1:
                    raise UserError(f"the template has the fields {', '.join(names)}: give each text as a mapping.")
                rows.append({names[0]: text})
                continue
            missing = [name for name in names if name not in text]
            if missing:
                raise UserError(f"a text lacks the field '{missing[0]}' of the template.")
            rows.append(text)
        return rows
