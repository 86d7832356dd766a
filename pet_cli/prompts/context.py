"""Prompts with demonstrations: each filled into the template with its label word at the mask, cut to fit, put to the
query. Knows token ids and where a family wants them, nothing of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pet_cli.errors import UserError
from pet_cli.prompts.batch import Prompt
from pet_cli.prompts.demonstrations import Demonstrations
from pet_cli.prompts.encoder import PromptEncoder
from pet_cli.prompts.template import Template

Place = Literal["behind", "inside", "before"]
"""Where demonstrations stand: `behind` the query, each closed as a text of its own (LM-BFF); `inside` its text, before
its closing tokens; `before` it, a line each, so that what they are to a model that reads from left to right does not
depend on the query."""


class ContextEncoder:
    """Puts demonstrations to prompts.

    They take at most half of the longest prompt, and no more than the query leaves; where they are longer, each is cut
    to an equal share, by which its longest field loses its end, as a query's does. Where even the words of the template
    do not fit beside a long query, the last round of them falls away. The query is never cut for their sake.

    Args:
        template: of the demonstrations, with its mask.
        words: the token ids of each label's word, which take the mask's place.
        max_length: the most tokens of a prompt, query and demonstrations together.

    Raises:
        UserError: demonstrations that are longer than half of a prompt with no text in them.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: Template,
        demonstrations: Demonstrations,
        words: Sequence[tuple[int, ...]],
        max_length: int,
        mask_token: str,
        place: Place,
    ) -> None:
        self.encoder = PromptEncoder(tokenizer, template, max_length, mask_token)
        self.shown = demonstrations
        self.words = words
        self.max_length = max_length
        self.place = place
        self.front, self.end = frame(tokenizer)
        self.line = line_break(tokenizer) if place == "before" else []
        self._known: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
        self._check()

    def put(self, query: Prompt, chosen: Sequence[int]) -> Prompt:
        """The query's prompt with the demonstrations at these places of `Demonstrations.examples`."""
        shown = self.fitted(chosen, min(self.max_length // 2, self.max_length - len(query.ids)))
        lacks = len(chosen) - len(shown)
        ids = [token for own, _ in shown for token in own]
        types = [kind for _, own in shown for kind in own]
        if self.place == "before":
            at = self.front
        else:
            at = len(query.ids) - (self.end if self.place == "inside" else 0)

        def moved(position: int) -> int:
            return position + len(ids) if position >= at else position

        return replace(
            query,
            ids=[*query.ids[:at], *ids, *query.ids[at:]],
            types=[*query.types[:at], *types, *query.types[at:]],
            masks=tuple(map(moved, query.masks)),
            soft=tuple((moved(position), slot) for position, slot in query.soft),
            context=at + len(ids) if self.place == "before" and ids else 0,
            lacks=lacks,
        )

    def fitted(self, chosen: Sequence[int], room: int) -> list[tuple[list[int], list[int]]]:
        """Token ids and segments of demonstrations in at most `room` tokens; without those that found none."""
        kept = list(chosen)
        while kept:
            whole = [self.tokens(place, self.max_length) for place in kept]
            most = share([len(ids) for ids, _ in whole], room)
            try:
                return [
                    own if len(own[0]) <= most else self.tokens(place, most)
                    for place, own in zip(kept, whole, strict=True)
                ]
            except UserError:  # what is never shortened is longer
                kept = kept[: -len(self.shown.labels)]
        return []

    def tokens(self, place: int, most: int) -> tuple[list[int], list[int]]:
        """Token ids and segments of one demonstration, at most `most`. Raises `UserError` where that cannot be."""
        if (place, most) not in self._known:
            example = self.shown.examples[place]
            word = self.words[example.label]
            outer = self.front + (0 if self.place == "behind" else self.end)  # what is taken away again
            encoder = self.encoder.within(min(most + outer, self.max_length) - len(word) + 1 - len(self.line))
            prompt = encoder.encode([example.fields])[0]
            self._known[place, most] = self._answered(prompt, word)
        return self._known[place, most]

    def _answered(self, prompt: Prompt, word: tuple[int, ...]) -> tuple[list[int], list[int]]:
        [mask] = prompt.masks
        end = len(prompt.ids) - (0 if self.place == "behind" else self.end)
        ids = [*prompt.ids[self.front : mask], *word, *prompt.ids[mask + 1 : end], *self.line]
        kinds = prompt.types
        types = [*kinds[self.front : mask], *[kinds[mask]] * len(word), *kinds[mask + 1 : end]]
        return ids, [*types, *[0] * len(self.line)]

    def _check(self) -> None:
        """Raises `UserError` where not even demonstrations without a text fit."""
        empty = self.encoder.encode([dict.fromkeys(self.encoder.template.fields, "")])[0]
        least = sum(len(self._answered(empty, word)[0]) for word in self.words) * self.shown.per_label
        if least > self.max_length // 2:
            raise UserError(
                f"demonstrations.per_label={self.shown.per_label}: demonstrations longer than the model: "
                f"{self.shown.per_label * len(self.words)} of them take {least} tokens without any text, and may take "
                f"{self.max_length // 2}, half of a prompt. Give fewer, or a larger trainer.max_length."
            )


def share(lengths: Sequence[int], room: int) -> int:
    """The largest number of tokens so that texts, each cut to it, take at most `room` together."""
    left = max(0, room)
    for number, length in enumerate(sorted(lengths)):
        own = left // (len(lengths) - number)
        if length > own:
            return own
        left -= length
    return max(lengths, default=0)


def frame(tokenizer: Any) -> tuple[int, int]:
    """How many special tokens a tokenizer puts in front of a text and behind it."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for front in range(len(whole) - len(bare) + 1):
        if whole[front : front + len(bare)] == bare:
            return front, len(whole) - len(bare) - front
    return 0, 0


def line_break(tokenizer: Any) -> list[int]:
    """The token ids of a line's end behind a word; none where a tokenizer knows no lines."""
    before = tokenizer("a", add_special_tokens=False)["input_ids"]
    ids = tokenizer("a\n", add_special_tokens=False)["input_ids"]
    return list(ids[len(before) :]) if ids[: len(before)] == before else []
