"""What a prompt is asked at its mask: the tokens of the label words, and what a learner's model says there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor

from pet_cli.errors import UserError
from pet_cli.models.base import Asked, LanguageModel, Tokenized
from pet_cli.prompts.batch import Batch, Prompt
from pet_cli.prompts.encoder import word_ids
from pet_cli.prompts.query import Answers
from pet_cli.verbalizers.base import MaskOutput, Verbalizer

if TYPE_CHECKING:
    from pet_cli.tuning.base import PromptLearner


class AtMask(MaskOutput):
    """A batch of prompts at their masks, as a learner's model sees them.

    Args:
        states: those computed before, `[batch, masks, hidden]`, or None.
    """

    def __init__(
        self,
        learner: PromptLearner,
        prompts: list[Prompt],
        states: Tensor | None = None,
        candidates: Sequence[Answers] | None = None,
    ) -> None:
        self.learner = learner
        self.prompts = prompts
        self.candidates = candidates
        self._given = states

    @cached_property
    def batch(self) -> Batch:
        return self.learner.lm.collate(self.prompts)

    @cached_property
    def embeds(self) -> Tensor | None:
        return self.learner.embeds(self.batch)

    @cached_property
    def at_masks(self) -> Tensor:
        """The states at all masks, `[batch, masks, hidden]`."""
        if self._given is not None:
            return self._given
        return self.learner.lm.states(self.batch, self.embeds)

    @property
    def states(self) -> Tensor:
        return self.at_masks[:, 0]

    @cached_property
    def features(self) -> Tensor:
        return self.learner.features(self.states)

    def word_scores(self, answers: Asked) -> Tensor:
        return self.learner.score_answers(self, answers)


def label_answers(lm: LanguageModel | Tokenized, verbalizer: Verbalizer, mask_without_space: bool) -> Answers:
    """The token ids of each label word, in the order of `verbalizer.flat`.

    Raises:
        UserError: a word that is several tokens where one is needed, or more than the model has room for, or is
            unknown to the tokenizer, or is the same tokens as another.
    """
    tokenizer = lm.tokenizer
    found: list[tuple[int, ...]] = []
    for word in verbalizer.flat:
        pieces = tuple(word_ids(tokenizer, word, space=not mask_without_space))
        if word in tokenizer.all_special_tokens:
            raise UserError(f"verbalizer: '{word}' is a special token of this model, no word. Choose another word.")
        if tokenizer.unk_token_id in pieces:
            raise UserError(f"verbalizer: '{word}' is not in this model's vocabulary. Choose another word.")
        if len(pieces) > 1 and lm.single_token_words and verbalizer.asks_words:
            shown = " ".join(tokenizer.convert_ids_to_tokens(pieces))
            raise UserError(
                f"verbalizer: '{word}' is {len(pieces)} tokens for this model ({shown}); a label word must be one. "
                "Choose another word."
            )
        if len(pieces) > lm.room and verbalizer.asks_words:
            raise UserError(
                f"verbalizer: '{word[:60]}' is {len(pieces)} tokens for this model, and {lm.room} are the most. "
                "Choose a shorter one."
            )
        if pieces in found:
            other = verbalizer.flat[found.index(pieces)]
            raise UserError(f"verbalizer: '{other}' and '{word}' are the same token for this model.")
        found.append(pieces)
    return Answers(tuple(found), getattr(verbalizer.settings, "length_normalise", True))
