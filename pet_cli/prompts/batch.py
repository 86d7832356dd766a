"""Prompts, and batches of them padded to the longest. Knows token ids, nothing of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prompt:
    """One example as the model reads it.

    Attributes:
        ids: token ids, special tokens included.
        types: segment ids, as many (all 0 where the template has no border).
        masks: positions of the masks, in the template's order (empty for a classifier's input); several where an
            answer of several tokens is to be filled in.
        soft: (position, slot) of every trainable token.
        cut: how many tokens were left out to meet the maximum length.
        context: how many tokens stand in front of the query itself, where demonstrations do; else 0.
        lacks: how many demonstrations found no room.
    """

    ids: list[int]
    types: list[int]
    masks: tuple[int, ...]
    soft: tuple[tuple[int, int], ...] = ()
    cut: int = 0
    context: int = 0
    lacks: int = 0


@dataclass
class Batch:
    """Prompts padded to the longest of them, on one device.

    Attributes:
        input_ids, attention_mask, token_type_ids: `[batch, length]`.
        masks: positions of the masks, `[batch, masks]`, 0 behind the last one of a prompt that has fewer.
        soft: slot of every trainable token, -1 elsewhere, `[batch, length]`; None where no prompt has any.
        shared: how many tokens in front all prompts have in common, their demonstrations; 0 where these differ.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    masks: Tensor
    soft: Tensor | None = None
    shared: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)

    def to(self, device: torch.device | str) -> Batch:
        return Batch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.token_type_ids.to(device),
            self.masks.to(device),
            None if self.soft is None else self.soft.to(device),
            self.shared,
        )


def collate(prompts: Sequence[Prompt], pad_id: int, device: torch.device | str = "cpu", left: bool = False) -> Batch:
    """Pads prompts to the longest of them; `left` pads in front, as decoder-only models want it."""
    longest = max(len(prompt.ids) for prompt in prompts)
    input_ids = torch.full((len(prompts), longest), pad_id)
    types = torch.zeros_like(input_ids)
    attention = torch.zeros_like(input_ids)
    masks = torch.zeros((len(prompts), max(len(prompt.masks) for prompt in prompts)), dtype=torch.long)
    soft = torch.full_like(input_ids, -1) if any(prompt.soft for prompt in prompts) else None
    for row, prompt in enumerate(prompts):
        start = longest - len(prompt.ids) if left else 0
        end = start + len(prompt.ids)
        input_ids[row, start:end] = torch.tensor(prompt.ids)
        types[row, start:end] = torch.tensor(prompt.types)
        attention[row, start:end] = 1
        masks[row, : len(prompt.masks)] = torch.tensor(prompt.masks) + start
        if soft is not None:
            for position, slot in prompt.soft:
                soft[row, start + position] = slot
    batch = Batch(input_ids, attention, types, masks, soft, shared_context(prompts))
    if torch.device(device).type != "cpu":
        batch = batch.to(device)
    return batch


def buckets(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices in batches of `size`, longest first, so that a batch pads little and memory peaks at once."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[i : i + size] for i in range(0, len(order), size)]


def shared_context(prompts: Sequence[Prompt]) -> int:
    """How many tokens of demonstrations stand in front of all of the prompts, the same ones; 0 where they differ."""
    first = prompts[0]
    same = all(
        prompt.context == first.context and prompt.ids[: first.context] == first.ids[: first.context]
        for prompt in prompts
    )
    return first.context if same else 0


def batches_of(prompts: Sequence[Prompt], size: int) -> list[list[int]]:
    """Indices in `buckets`, those together that have demonstrations in front in common."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt.ids[: prompt.context]), []).append(index)
    together = [own for own in groups.values() if len(own) > 1 or len(groups) == 1]
    alone = sorted(own[0] for own in groups.values() if len(own) == 1 and len(groups) > 1)
    parts = [*together, alone] if alone else together
    return [[own[i] for i in indices] for own in parts for indices in buckets([len(prompts[i].ids) for i in own], size)]
