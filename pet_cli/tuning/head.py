"""Head tuning: the MLM head alone trains; the encoder is frozen, so its states at the mask are computed once."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.errors import UserError
from pet_cli.models.base import Asked
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.batch import Batch
from pet_cli.prompts.template import Template
from pet_cli.tuning.at_mask import AtMask
from pet_cli.tuning.base import decay_groups
from pet_cli.tuning.slots import hard_template
from pet_cli.tuning.zero_shot import ZeroShotLearner


class HeadLearner(ZeroShotLearner):
    """Trains the head's transform with its norm, and the output bias of the label words.

    Other words' biases and projections get no gradient from a softmax over label words, so only the label words'
    rows are copied. With `settings.decoder` their rows of the projection train too, untied from the input
    embeddings: the encoder, and so the states computed once, stay as they are.

    A few hundred steps on a few dozen examples can carry the head anywhere. `settings.anchor` draws it back: the loss
    gains anchor / examples * |weights - pretrained weights|^2, a Gaussian prior around what pretraining found, so its
    pull fades as examples come in.
    """

    lm_loss_trains = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not isinstance(self.lm, MaskedLM):
            raise UserError(
                f"tuning=head trains the head of a masked LM; {self.lm.name} is {self.lm.family.replace('_', '-')}. "
                "Use tuning=full, or tuning=zero_shot."
            )
        self.transform = copy.deepcopy(self.lm.transform)
        self.start = [parameter.detach().clone() for parameter in self.transform.parameters()]
        self.rows = nn.ParameterDict()
        if self.verbalizer.asks_words:
            words = self.lm.tokens(self.answers).first
            weight, bias = (None if part is None else part.detach()[words].clone() for part in self.lm.projection)
            assert weight is not None
            self.rows["bias"] = nn.Parameter(weight.new_zeros(len(weight)) if bias is None else bias)
            self.rows["decoder"] = nn.Parameter(weight, requires_grad=self.settings.decoder)

    def own_template(self, template: Template) -> Template:
        return hard_template(template, self.settings.name)

    def features(self, states: Tensor) -> Tensor:
        return self.transform(states)  # type: ignore[no-any-return]

    def score_answers(self, mask: AtMask, answers: Asked) -> Tensor:
        if answers != self.answers:  # the head has rows of the label words alone
            return super().score_answers(mask, answers)
        return F.linear(mask.features, self.rows["decoder"], self.rows["bias"])

    def vocabulary_scores(self, batch: Batch, places: Tensor) -> Tensor:
        with torch.no_grad():  # the encoder is frozen
            hidden = self.lm.encode(batch).float()[places]
        weight, bias = (None if part is None else part.detach() for part in self.lm.projection)
        assert weight is not None
        if self.rows:
            words = self.lm.tokens(self.answers).first
            bias = weight.new_zeros(len(weight)) if bias is None else bias
            weight = weight.index_copy(0, words, self.rows["decoder"])
            bias = bias.index_copy(0, words, self.rows["bias"])
        return F.linear(self.transform(hidden), weight, bias)

    def l2_sp(self, examples: int) -> Tensor:
        pairs = zip(self.transform.parameters(), self.start, strict=True)
        distance = torch.stack([(now - before).square().sum() for now, before in pairs]).sum()
        return self.settings.anchor / examples * distance

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        own = [*self.transform.named_parameters(), *self.rows.items()]
        return decay_groups(own, learning_rate) + super().parameter_groups(learning_rate)

    def trained_state(self) -> dict[str, Tensor]:
        transform = {f"transform.{name}": tensor for name, tensor in self.transform.state_dict().items()}
        return {**super().trained_state(), **transform, **dict(self.rows.items())}
