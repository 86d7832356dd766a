"""The training loop: one for every tuning mode, and for networks from scratch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pet_cli.config.schema import TrainerConfig
from pet_cli.errors import UserError


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast: AdamW, linear decay to 0 after `warmup` (a share of the steps), gradients clipped."""

    steps: int
    learning_rate: float
    batch_size: int = 8
    weight_decay: float = 0.01
    warmup: float = 0.0
    grad_clip: float | None = 1.0
    seed: int = 13
    eval_every: int = 20

    @classmethod
    def of(cls, trainer: TrainerConfig, steps: int, learning_rate: float) -> TrainSettings:
        """As `trainer` says, once steps and learning rate are known."""
        return cls(
            steps=steps,
            learning_rate=learning_rate,
            batch_size=trainer.batch_size,
            weight_decay=trainer.weight_decay,
            warmup=trainer.warmup,
            grad_clip=trainer.grad_clip,
            seed=trainer.seed,
            eval_every=trainer.eval_every,
        )


@dataclass(frozen=True)
class TrainReport:
    """What the loop saw: the loss of every step, and with a development set its score and the step kept."""

    losses: list[float]
    dev_score: float | None = None
    kept_step: int | None = None


class Trainable(Protocol):
    """What the loop trains: a learner on a language model (`tuning/base.py`), or a network.

    Attributes:
        body: what it may share with others, of which nothing but what trains is to ask for a gradient.
        on_overflow: what to do where its numbers overflow before anything was trained, in words.
    """

    @property
    def device(self) -> torch.device: ...

    @property
    def body(self) -> nn.Module: ...

    @property
    def on_overflow(self) -> str: ...

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def training(self) -> contextlib.AbstractContextManager[None]: ...

    def parameter_groups(self, learning_rate: float, /) -> list[dict[str, Any]]: ...

    def loss(
        self, data: Any, indices: Sequence[int], targets: Tensor, weight: Tensor | None, temperature: float, /
    ) -> Tensor: ...

    def predict(self, data: Any, /) -> Tensor: ...


def seed_everything(seed: int) -> None:
    """Seeds what this project draws from in training: torch's generators (initialisation, dropout)."""
    torch.manual_seed(seed)


def batches(n: int, size: int, seed: int) -> Iterator[list[int]]:
    """Endless batches of indices, each epoch in a new order; a batch may not span two epochs."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(n, generator=generator).tolist()
        for start in range(0, n, size):
            yield order[start : start + size]


def train(
    learner: Trainable,
    data: Sized,
    targets: Tensor,
    settings: TrainSettings,
    *,
    class_weight: Tensor | None = None,
    dev: tuple[Sized, Callable[[Tensor], float]] | None = None,
    temperature: float = 1.0,
    mlm: Callable[[int], Tensor] | None = None,
    alpha: float = 0.0,
    advance: Callable[[int], None] | None = None,
) -> TrainReport:
    """Trains a learner in place.

    Args:
        targets: label indices `[examples]` or label probabilities `[examples, labels]`.
        dev: a development set, and how good label scores `[examples, labels]` are on it; the parameters of the step
            that does best are kept.
        temperature: of soft targets, see `Learner.loss`.
        mlm: PET's auxiliary loss of a step; the total is (1 - alpha) * label loss + alpha * this.
        advance: called after each step.
    """
    seed_everything(settings.seed)
    learner.begin()
    groups = learner.parameter_groups(settings.learning_rate)
    parameters = [p for group in groups for p in group["params"]]
    if not parameters:
        return TrainReport([])
    device = learner.device
    optimizer = torch.optim.AdamW(
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _linear(settings))
    targets = targets.to(device)
    if class_weight is not None:
        class_weight = class_weight.to(device)
    losses: list[Tensor] = []
    best: tuple[float, int, list[Tensor]] | None = None
    order = batches(len(data), settings.batch_size, settings.seed)
    with learner.training(), _only(parameters, learner.body):
        for step in range(1, settings.steps + 1):
            indices = next(order)
            loss = learner.loss(data, indices, targets[indices], class_weight, temperature)
            if mlm is not None:
                loss = (1 - alpha) * loss + alpha * mlm(step)
            loss.backward()
            if settings.grad_clip:  # neither null nor 0
                torch.nn.utils.clip_grad_norm_(parameters, settings.grad_clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
            if step % _LOOK == 0 or step == settings.steps or device.type == "cpu":
                _check(losses, learner, settings)
            if advance is not None:
                advance(1)
            if dev is not None and (step % settings.eval_every == 0 or step == settings.steps):
                score = dev[1](learner.predict(dev[0]))
                if best is None or score >= best[0]:
                    best = (score, step, [p.detach().clone() for p in parameters])
        if best is not None:
            with torch.no_grad():
                for parameter, kept in zip(parameters, best[2], strict=True):
                    parameter.copy_(kept)
    learner.end()
    report = torch.stack(losses).tolist()
    return TrainReport(report, *(best[:2] if best else (None, None)))


_LOOK = 10
"""Steps between looks at the losses on a device, each of which waits for it."""


def _check(losses: list[Tensor], learner: Trainable, settings: TrainSettings) -> None:
    """Raises `UserError` where a loss of the last steps is no number, with the step where that began."""
    last = torch.stack(losses[-_LOOK:]).isfinite().tolist()
    if all(last):
        return
    step = len(losses) - len(last) + last.index(False) + 1
    where = f"The loss is no number (NaN or infinite) from step {step} of {settings.steps} on"
    if step == 1:
        raise UserError(f"{where}, before anything was trained. {learner.on_overflow}")
    raise UserError(
        f"{where}: training went too far. Give a learning rate below {settings.learning_rate:g} "
        "(trainer.learning_rate), or a smaller trainer.grad_clip."
    )


@contextlib.contextmanager
def _only(parameters: Sequence[nn.Parameter], model: nn.Module) -> Iterator[None]:
    """Within the block no other parameter of a model than these asks for a gradient."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    trained = {id(parameter) for parameter in parameters}
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in trained)
        yield
    finally:
        for parameter, wanted in before:
            parameter.requires_grad_(wanted)


def _linear(settings: TrainSettings) -> Callable[[int], float]:
    warmup = math.ceil(settings.warmup * settings.steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (settings.steps - step) / max(1, settings.steps - warmup))

    return factor


def balanced_weights(targets: Sequence[int], n_labels: int) -> Tensor:
    """A weight for each label, inverse to its share of the training examples, 1 in the mean example."""
    counts = torch.bincount(torch.tensor(targets), minlength=n_labels).clamp(min=1)
    return len(targets) / (n_labels * counts)


def steps_for(n: int, max_steps: int | None, batch_size: int, tuning: Any) -> int:
    """`trainer.max_steps`, or as many as the tuning mode's passes over the examples take."""
    if max_steps is not None:
        return max_steps
    return int(tuning.steps(n, batch_size))
