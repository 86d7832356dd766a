"""A run that stands for election: what a rule may ask of it."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pet_cli import methods
from pet_cli.base.clock import Clock
from pet_cli.config import resolve
from pet_cli.config.build import option
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.methods import Context, Method


class Candidate:
    """A finished run, its labeled sample, and texts without labels.

    What its rules train is trained as the run was, with its seed, steps and development examples, and kept nowhere.
    """

    def __init__(self, config: PetConfig, context: Context, method: Method | None = None) -> None:
        """
        Args:
            context: its folder is the run's.
            method: the run's method, where it has just been fitted; else it is loaded, or, where a sweep did not save
                what was trained, fitted again.
        """
        self.config = config
        self.context = context
        self.target = resolve.target(config)
        self._method = method
        context.session.several()

    @functools.cached_property
    def splits(self) -> dict[str, Split]:
        """`train`, `dev`, `unlabeled` and `texts` as far as they are there; no test split."""
        return self.context.session.for_choice(self.config)

    @property
    def train(self) -> Split:
        """The labeled sample. Raises `UserError` where there is none."""
        found = self.splits.get("train")
        if not found:
            raise UserError("there are no labeled examples to go by.")
        return found

    @property
    def dev(self) -> Split:
        """The development examples. Raises `UserError` where there are none."""
        found = self.splits.get("dev")
        if not found:
            raise UserError("there are no development examples.")
        return found

    @property
    def texts(self) -> Split:
        """Texts without labels. Raises `UserError` where there are none."""
        found = self.splits.get("texts")
        if not found:
            raise UserError("there are no texts beside those of the test: give a file named unlabeled, or train.")
        return found

    def answers(self, split: Split) -> np.ndarray:
        """Label scores `[examples, labels]` of the run's method, as it was fitted, on `dev` or `texts`."""
        try:
            if self._method is None:
                assert self.context.folder is not None
                self._method = methods.load(self.context.folder, self._context(self.context.folder))
            return self._method.predict(split)
        except UserError:  # of a model that a sweep trained and did not keep
            with tempfile.TemporaryDirectory() as folder:
                kept = replace(self.config, save_model="always")
                self._method = methods.build(kept, self._context(Path(folder)))
                self._method.fit({name: own for name, own in self.splits.items() if name != "texts"})
                return self._method.predict(split)

    @functools.cached_property
    def said(self) -> np.ndarray:
        """`answers` on the texts, asked once for all rules."""
        return self.answers(self.texts)

    def learned(self, seen: Split, held: Split) -> np.ndarray:
        """Label scores `[examples, labels]` on the examples held out, of the method fitted on those seen alone."""
        self._method = None  # it may share its model with what trains now
        splits: Mapping[str, Split] = {"train": seen, "test": held}
        others = {name: own for name, own in self.splits.items() if name in ("dev", "unlabeled")}
        with tempfile.TemporaryDirectory() as folder:
            method = methods.build(self.config, self._context(Path(folder)))
            method.fit({**others, **splits})
            return method.predict(held)

    def untrained(self, split: Split) -> np.ndarray:
        """Label scores `[examples, labels]` before anything was learned: of the model as it is, with the run's prompt;
        all equal where there is none, or several."""
        config = self.config
        if config.method.tunes and config.tuning.uses_prompt and not config.ensemble.several:
            return self.as_it_is().predict(split)
        if not split.candidates:
            return np.zeros((len(split), len(self.target.labels)))
        most = max(map(len, split.candidates))
        return np.array([[0.0] * len(own) + [-np.inf] * (most - len(own)) for own in split.candidates])

    def as_it_is(self) -> Method:
        """The pretrained model with the run's single prompt, nothing trained."""
        self._method = None
        return methods.build(replace(self.config, tuning=option("tuning", "zero_shot")), self._context())

    def _context(self, folder: Path | None = None) -> Context:
        """Its seconds are not those of the run."""
        return replace(self.context, clock=Clock(), folder=folder)
