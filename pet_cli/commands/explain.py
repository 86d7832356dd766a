"""`pet explain`: which words the trained prompt vectors of a run lie near (Lester et al., EMNLP 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pet_cli.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from pet_cli.tuning.soft import SoftLearner


@dataclass(frozen=True)
class Neighbours:
    """One trained vector.

    Attributes:
        slot: its number in the template.
        start: the token it started as; None where it started as no token's embedding.
        moved: the Euclidean distance from its start.
        length: its Euclidean length.
        cosine: the nearest tokens with their cosine similarities, best first.
        distance: the nearest tokens with their Euclidean distances, best first.
    """

    slot: int
    start: str | None
    moved: float
    length: float
    cosine: list[tuple[str, float]]
    distance: list[tuple[str, float]]


def explain(run: str, top: int = 5) -> int:
    """Prints the nearest tokens of every trained prompt vector of a run, and how far each moved from its start."""
    from pet_cli.commands.tables import console

    if top < 1:
        raise UserError(f"--top {top}: must be at least 1.")
    learner, start = _trained(Path(run))
    out = console()
    out.print(f"template  {learner.template.source}")
    if getattr(learner, "network", None) is not None:
        out.print("The prompt also depends on the example; this is the part that does not.")
    for one in neighbours(learner, start, top):
        name = f"slot {one.slot}" + (f", started as {one.start}" if one.start is not None else "")
        out.print(f"{name}, moved {one.moved:.3f} (length {one.length:.3f})")
        for kind, near in (("cosine", one.cosine), ("distance", one.distance)):
            shown = "   ".join(f"{token} {value:.3f}" for token, value in near)
            out.print(f"  {kind:<8}  {shown}")
    return 0


def neighbours(learner: SoftLearner, start: Tensor, top: int) -> list[Neighbours]:
    """Every trained vector among the embeddings of the vocabulary.

    Args:
        start: what the vectors started as, `[slots, embedding]`.
    """
    import torch

    from pet_cli.tuning.slots import look_up

    lm = learner.lm
    table = look_up(lm, range(len(lm.tokenizer))).float()  # [vocabulary, embedding]
    vectors = learner.prompt_vectors().detach().float()
    top = min(top, len(table))
    unit = torch.nn.functional.normalize
    cosines = (unit(vectors, dim=1) @ unit(table, dim=1).T).topk(top)  # [slots, top]
    distances = torch.cdist(vectors, table).topk(top, largest=False)
    began = torch.cdist(start.float(), table).min(dim=1)
    scale = table.norm(dim=1).mean()
    found = []
    for slot in range(len(vectors)):
        first = lm.tokenizer.convert_ids_to_tokens(int(began.indices[slot]))
        found.append(
            Neighbours(
                slot,
                first if float(began.values[slot]) < 1e-3 * scale else None,
                float((vectors[slot] - start[slot]).norm()),
                float(vectors[slot].norm()),
                _named(lm.tokenizer, cosines.indices[slot].tolist(), cosines.values[slot].tolist()),
                _named(lm.tokenizer, distances.indices[slot].tolist(), distances.values[slot].tolist()),
            )
        )
    return found


def _named(tokenizer: object, ids: list[int], values: list[float]) -> list[tuple[str, float]]:
    tokens = tokenizer.convert_ids_to_tokens(ids)  # type: ignore[attr-defined]
    return list(zip(tokens, values, strict=True))


def _trained(folder: Path) -> tuple[SoftLearner, Tensor]:
    """A run's learner as trained, and what its vectors started as, `[slots, embedding]`."""
    from pet_cli.methods.base import Context
    from pet_cli.methods.prompted import PromptMethod
    from pet_cli.runs.saved import saved_config
    from pet_cli.training.loop import seed_everything
    from pet_cli.tuning.soft import SoftLearner

    config = saved_config(folder)
    if not config.method.tunes:
        raise UserError(f"{folder}: method={config.method.name} has no prompt to explain.")
    if config.ensemble.several:
        raise UserError(f"{folder} is an ensemble: explain one of its members, in {folder}/members.")
    if not config.tuning.vectors:
        raise UserError(
            f"{folder}: tuning={config.tuning.name} trains no vectors at the input; "
            "there are some with soft_prompt, word_embedding and p_tuning."
        )
    learner = PromptMethod.load(folder, config, Context()).learner
    assert isinstance(learner, SoftLearner)
    origin = learner
    # Words started as the embeddings of the model before it was trained along, and others from a file.
    if learner.trains_model or config.tuning.starts_from is not None:
        built = PromptMethod.build(config, Context()).learner
        assert isinstance(built, SoftLearner)
        origin = built
    seed_everything(config.trainer.seed)  # as the training did: the same draws
    origin.begin()
    start = origin.prompt_vectors().detach().clone()
    learner.load(folder)
    return learner, start
