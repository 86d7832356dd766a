"""Masked language modelling on unlabeled texts in the prompt, beside the labels' loss: PET's auxiliary task (Schick &
Schütze 2021a, §3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.errors import UserError
from pet_cli.prompts.batch import Batch, Prompt
from pet_cli.training.loop import batches
from pet_cli.tuning.base import PromptLearner


class MaskedModelling:
    """The MLM loss of a batch of unlabeled prompts for each training step.

    It goes through the learner's model with all that the learner adds to it, so that adapters, prompts and heads learn
    from it as a model trained whole does.

    Args:
        learner: whose model it is.
        prompts: unlabeled texts, encoded by the member's template.
        batch_size: unlabeled prompts in a step.
        seed: fixes their order and the masks.
        rate: the share of tokens that are predicted; of those 80 % are masked, 10 % replaced, 10 % kept.
        window: instead, one token of each text is masked and predicted of so many tokens around it, itself counted,
            and the special ones: of the rest the model sees nothing.
    """

    def __init__(
        self,
        learner: PromptLearner,
        prompts: Sequence[Prompt],
        batch_size: int,
        seed: int,
        rate: float = 0.15,
        window: int | None = None,
    ) -> None:
        lm = learner.lm
        if lm.family != "masked":
            raise UserError(
                f"ensemble.alpha, trainer.mlm_alpha: the auxiliary loss masks words, which {lm.name} does not take; "
                "give 0."
            )
        self.learner = learner
        self.lm = lm
        self.prompts = prompts
        self.rate = rate
        self.window = window
        self.order = batches(len(prompts), batch_size, seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.special = torch.tensor(sorted(set(lm.tokenizer.all_special_ids)))

    def __call__(self, step: int) -> Tensor:
        batch = self.lm.collate([self.prompts[i] for i in next(self.order)])
        chosen, gold = self.mask(batch)
        if not len(gold):
            return torch.zeros((), device=self.lm.device)
        return F.cross_entropy(self.learner.vocabulary_scores(batch, chosen), gold)

    def mask(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Masks a batch in place; returns where `[batch, length]` and what stood there `[chosen]`.

        Special tokens are never chosen, and so never the prompt's own mask; nor are trained vectors, which nothing of
        the vocabulary stands behind.
        """
        ids = batch.input_ids.cpu()
        free = ~torch.isin(ids, self.special) & batch.attention_mask.cpu().bool()
        if batch.soft is not None:
            free &= batch.soft.cpu() < 0
        if self.window is None:
            chosen = (torch.rand(ids.shape, generator=self.generator) < self.rate) & free
        else:
            chosen = self._centres(batch, free, self.window)
        gold = ids[chosen]
        dice = torch.rand(gold.shape, generator=self.generator) * (self.window is None)  # a centre is always masked
        others = torch.randint(len(self.lm.tokenizer), gold.shape, generator=self.generator)
        mask_id = self.lm.tokenizer.mask_token_id
        shown = torch.where(dice < 0.8, torch.full_like(gold, mask_id), torch.where(dice < 0.9, others, gold))
        ids[chosen] = shown
        batch.input_ids = ids.to(self.lm.device)
        return chosen.to(self.lm.device), gold.to(self.lm.device)

    def _centres(self, batch: Batch, free: Tensor, window: int) -> Tensor:
        """One of the `free` places of each text that has any, `[batch, length]`; the batch's attention is narrowed to
        the window around it and the special tokens."""
        dice = torch.rand(free.shape, generator=self.generator) * free
        centres = dice.argmax(dim=1, keepdim=True)
        places = torch.arange(free.shape[1]).expand_as(free)
        seen = (places - centres).abs() <= window // 2
        seen |= torch.isin(batch.input_ids.cpu(), self.special) | ~free.any(dim=1, keepdim=True)
        if batch.soft is not None:
            seen |= batch.soft.cpu() >= 0
        batch.attention_mask = batch.attention_mask * seen.to(batch.attention_mask)
        return (places == centres) & free
