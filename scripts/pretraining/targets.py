"""Prompts with soft targets at [MASK], from the folder that `scripts/soft_targets.py` writes.

In shapes: B prompts in a batch, L tokens, N sentences of a kind of prompt, K words, P words a pole.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional as F

from .batches import Batch, padded, to_batch
from .text import UserError


class SoftTargets:
    """Step → input_ids, attention_mask, token_type_ids [B, L]; chosen [B], places in the flattened [B * L]; words [K];
    wanted [B, K], probabilities among these words; of a kind with poles also sides [B, 2], a word of each, and leans
    [B], the probability of the first. One kind of prompt shares a batch, as each has its own words."""

    def __init__(self, folder: Path, tokenizer: Any, args: argparse.Namespace):
        self.tokenizer, self.args = tokenizer, args
        self.kinds = []
        for file in sorted(folder.glob("*.safetensors")):
            try:
                about = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
                found = load_file(file)
                own = len(about["texts"]) == len(found["scores"]) and int(found["words"].max()) < len(tokenizer)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                raise UserError(
                    f"--soft-targets: {file} is not as scripts/soft_targets.py writes it: {error}"
                ) from None
            if not own:
                raise UserError(f"--soft-targets: {file} was made for other texts or another vocabulary")
            self.kinds.append((about, found))
        if not self.kinds:
            raise UserError(f"--soft-targets: no *.safetensors in {folder}, which scripts/soft_targets.py writes")
        sizes = np.sqrt([len(about["texts"]) for about, _ in self.kinds])  # a small kind is not to be forgotten
        self.shares = sizes / sizes.sum()

    def prompt(self, fill: str, text: str) -> tuple[list[int], int]:
        """Token ids, and where segment B begins (their number, if there is none). What is too long is cut off the
        text."""
        special = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        parts = [[self.ids(piece) for piece in side.strip().split("{text}")] for side in fill.split("|")]
        room = self.args.block - 1 - sum(1 + sum(map(len, part)) for part in parts)
        segments = []
        for part in parts:
            inside = self.ids(text)[: max(1, room)] if len(part) == 2 else []
            segments.append([*part[0], *inside, *(part[1] if len(part) == 2 else []), special[1]])
        return [special[0], *itertools.chain(*segments)], 1 + len(segments[0])

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text.strip() else []

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.args.seed, 5, step])
        about, found = self.kinds[rng.choice(len(self.kinds), p=self.shares)]
        texts, fills = about["texts"], about["fill"]
        rows = rng.integers(len(texts), size=self.args.soft_batch)
        prompts = [self.prompt(fills[rng.integers(len(fills))], texts[row]) for row in rows]
        ids = padded([np.array(prompt) for prompt, _ in prompts], self.tokenizer.pad_token_id)
        segments = padded([np.arange(len(prompt)) >= second for prompt, second in prompts], 0)
        batch = to_batch(
            input_ids=ids, attention_mask=padded([np.ones(len(prompt)) for prompt, _ in prompts], 0),
            token_type_ids=segments, chosen=np.flatnonzero(ids == self.tokenizer.mask_token_id),
        )  # fmt: skip
        sharpness = 1.0 if about.get("own") else self.args.soft_sharpness
        batch |= {"words": found["words"].long(), "wanted": (sharpness * found["scores"][rows].float()).softmax(-1)}
        if "leans" in found:
            first, second = (side[torch.from_numpy(rng.integers(len(side), size=len(rows)))] for side in found["sides"])
            leans = torch.sigmoid(self.args.lean_sharpness * found["leans"][rows].float())
            batch |= {"sides": torch.stack([first, second], 1), "leans": leans}
        return batch


def soft_loss(logits: torch.Tensor, batch: Batch, lean_weight: float) -> torch.Tensor:
    """`divergence`, and for a kind with poles `lean_weight` times the mean cross-entropy [] between how a pair of words
    stands to one another in the model, a word of each pole, and what is wanted; logits [B, V]."""
    loss = divergence(logits, batch)
    if "leans" not in batch:
        return loss
    first, second = logits.gather(1, batch["sides"]).unbind(1)
    return loss + lean_weight * F.binary_cross_entropy_with_logits(first - second, batch["leans"])


def divergence(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """KL divergence [] of the model's probabilities among the words from those wanted; logits [B, V]."""
    return F.kl_div(logits[:, batch["words"]].log_softmax(-1), batch["wanted"], reduction="batchmean")
