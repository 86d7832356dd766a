"""The settings of the tuning modes, one dataclass each, and what each mode is. The defaults stand in `conf/tuning`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pet_cli.config.bounds import Settings, bounded, one_of, rate
from pet_cli.errors import UserError, choices, nearest

_INITS = ("random", "vocab", "labels", "text")
_WIDEST = 2**16


@dataclass(kw_only=True)
class Tuning(Settings):
    """What every mode says, and what it is.

    Steps are `epochs` passes over the training examples, at least `min_steps`.
    """

    trains: ClassVar[bool] = True
    """Whether anything of the mode's own trains (weights of label words may, beside any mode)."""
    uses_prompt: ClassVar[bool] = True
    """Whether it reads the template and label words, not the plain text."""
    vectors: ClassVar[bool] = False
    """Whether trainable vectors stand among the input's embeddings."""
    on_states: ClassVar[bool] = False
    """Whether the frozen model's states at the mask, computed once, are all that it needs of the model."""
    one_for_several: ClassVar[bool] = False
    """Whether one model may train on several templates at once."""

    name: str
    epochs: int = bounded(1)
    min_steps: int = bounded(1)

    @property
    def changes_model(self) -> bool:
        """Whether training changes the language model itself, so that it is saved whole."""
        return False

    @property
    def drops_out(self) -> bool:
        """Whether the model's dropout is on while something trains."""
        return False

    @property
    def starts_from(self) -> Path | None:
        """The file of what it starts from; None where it starts from nothing that was trained."""
        return None

    def saved(self) -> Tuning:
        """The settings by which what was trained is read again: of nothing but the run's own folder."""
        return self

    def steps(self, examples: int, batch_size: int) -> int:
        """How many steps of training so many examples take."""
        return max(self.min_steps, self.epochs * math.ceil(examples / batch_size))


@dataclass(kw_only=True)
class ZeroShotTuning(Tuning):
    """Nothing trains but the weights of label words, where `scoring` says so."""

    trains = False
    on_states = True
    one_for_several = True
    learning_rate: ClassVar[None] = None


@dataclass(kw_only=True)
class TrainedTuning(Tuning):
    """What every mode with training says: its learning rate (null: the model's)."""

    learning_rate: float | None = rate("takes the model's")


@dataclass(kw_only=True)
class DropoutTuning(TrainedTuning):
    """A mode that may train with the model's dropout."""

    dropout: bool

    @property
    def drops_out(self) -> bool:
        return self.dropout


@dataclass(kw_only=True)
class FullTuning(DropoutTuning):
    one_for_several = True
    most_epochs: int | None = bounded(1, null="sets no such limit")

    @property
    def changes_model(self) -> bool:
        return True

    def steps(self, examples: int, batch_size: int) -> int:
        """Very few examples are not gone through more often than `most_epochs` to reach `min_steps`."""
        one_pass = math.ceil(examples / batch_size)
        least = self.min_steps if self.most_epochs is None else min(self.min_steps, self.most_epochs * one_pass)
        return max(least, self.epochs * one_pass)


@dataclass(kw_only=True)
class HeadTuning(TrainedTuning):
    on_states = True

    anchor: float = bounded(0, 1e6)
    decoder: bool


@dataclass(kw_only=True)
class ClassifierTuning(DropoutTuning):
    uses_prompt = False
    head_learning_rate: float = rate()
    pooling: str = one_of("cls", "mean")

    @property
    def changes_model(self) -> bool:
        return True


@dataclass(kw_only=True)
class FrozenTuning(DropoutTuning):
    """What every mode with a frozen model says."""

    learning_rate: float = rate()

    def pull(self, examples: int) -> float:
        """How strongly what trains is held to its start (an L2-SP penalty, Li et al., ICML 2018)."""
        return 0.0


@dataclass(kw_only=True)
class AnchoredTuning(FrozenTuning):
    """A frozen model with vectors that are held to their start where examples are few."""

    anchor: float = bounded(0, 1e6)
    anchor_until: int = bounded(1)
    init: str = one_of(*_INITS)
    text: str | None

    def pull(self, examples: int) -> float:
        return self.anchor * max(0.0, (self.anchor_until / examples) ** 2 - 1)

    def check(self, key: str = "") -> None:
        super().check(key)
        if self.init == "text" and not (self.text or "").strip():
            raise UserError(f"{key}.init=text: needs the words to start as, {key}.text='It was'.")


@dataclass(kw_only=True)
class SoftPromptTuning(AnchoredTuning):
    vectors = True
    init: str  # one of _INITS, or a file
    length: int | None = bounded(1, _WIDEST, null="puts none in front")
    conditioned: bool
    bottleneck: int = bounded(1, _WIDEST)
    network_learning_rate: float = rate()

    @property
    def starts_from(self) -> Path | None:
        """A file of vectors that another run has trained; of a run's folder the file in it."""
        if self.init in _INITS:
            return None
        path = Path(self.init).expanduser()
        return path / "trained.safetensors" if path.is_dir() else path

    def saved(self) -> Tuning:
        return self if self.starts_from is None else dataclasses.replace(self, init="random")

    def check(self, key: str = "") -> None:
        super().check(key)
        if (path := self.starts_from) is not None and not path.is_file():
            raise UserError(
                f"{key}.init={self.init}: not one of {choices(_INITS)}, nor a file of trained vectors; no such file."
                f"{nearest(self.init, _INITS)}"
            )


@dataclass(kw_only=True)
class WordEmbeddingTuning(AnchoredTuning):
    vectors = True
    freeze_model: bool
    model_learning_rate: float | None = rate("goes by the model's width")

    @property
    def changes_model(self) -> bool:
        return not self.freeze_model


@dataclass(kw_only=True)
class PTuningTuning(AnchoredTuning):
    vectors = True
    network_learning_rate: float = rate()
    length: int | None = bounded(1, _WIDEST, null="puts none in front")
    encoder: str = one_of("lstm", "mlp")
    hidden: int | None = bounded(1, _WIDEST, null="is the embeddings' width")


@dataclass(kw_only=True)
class PrefixTuning(AnchoredTuning):
    length: int = bounded(1, _WIDEST)
    projection: bool
    bottleneck: int = bounded(1, _WIDEST)


@dataclass(kw_only=True)
class LoraTuning(FrozenTuning):
    rank: int = bounded(1, _WIDEST)
    alpha: float = bounded(0, 1e6, above=True)
    targets: Any  # null, linear, or ends of module names

    def check(self, key: str = "") -> None:
        super().check(key)
        given = [self.targets] if isinstance(self.targets, str) else self.targets
        named = isinstance(given, (list, tuple)) and given and all(isinstance(one, str) and one for one in given)
        if self.targets is not None and not named:
            raise UserError(
                f"{key}.targets={self.targets}: null, linear, or ends of module names, such as [query,value]."
            )


@dataclass(kw_only=True)
class BitfitTuning(FrozenTuning):
    pass
