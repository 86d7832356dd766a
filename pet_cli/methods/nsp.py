"""Next-sentence prediction as a zero-shot classifier: NSP-BERT (Sun et al., COLING 2022).

A label's score is how likely its words, in the template, are to be the next sentence. Of a pair of sentences the model
tells the relation itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.files import read_json, write_json
from pet_cli.config import nsp, resolve
from pet_cli.config.method import NEXT
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.errors import UserError, choices
from pet_cli.methods.base import CHUNK, Context, Method
from pet_cli.methods.prompted import max_length
from pet_cli.models.pairs import PairModel
from pet_cli.prompts.batch import buckets
from pet_cli.prompts.encoder import PromptEncoder
from pet_cli.prompts.template import Template

_CUT = "cut.json"


class NspMethod(Method):
    """A next-sentence head, asked for each label or for each pair.

    Two labels may be cut at a stated prior (`method.prior`): the difference of their scores is ranked on unlabeled
    texts, and the cut is put where so many of them get the label. (Sun et al. rank the test examples themselves; here
    a text's answer does not depend on which others are asked.)

    Attributes:
        cut: what the score of the label that the prior names must be ahead by; 0 without a prior.
    """

    def __init__(self, config: PetConfig, model: PairModel, context: Context) -> None:
        super().__init__(config, context)
        self.model = model
        self.cut = 0.0
        self.shortened: dict[str, int] = {}
        self.max_length = max_length(config, model.body)
        self.columns = self._columns()

    @classmethod
    def build(cls, config: PetConfig, context: Context) -> NspMethod:
        with context.clock.phase("model"):
            return cls(config, context.session.pair_model(config), context)

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> NspMethod:
        own = cls.build(config, context)
        if nsp.prior(config) is not None:
            try:
                own.cut = float(read_json(folder / _CUT)["cut"])
            except (KeyError, TypeError, ValueError):
                raise UserError(f"{folder / _CUT} is damaged: it names no cut.") from None
        return own

    def fit(self, splits: Mapping[str, Split]) -> None:
        """Finds the cut on the unlabeled texts, where there is a prior to cut at."""
        prior = nsp.prior(self.config)
        if prior is None:
            return
        texts = splits.get("unlabeled")
        if not texts:
            raise UserError("method.prior: it takes texts without labels to rank, a training or an unlabeled split.")
        label, share = prior
        scores = self._scores(texts)
        ahead = self.labels.index(label)
        self.cut = float(np.quantile(scores[:, ahead] - scores[:, 1 - ahead], 1 - share))

    def predict(self, split: Split) -> np.ndarray:
        scores = self._scores(split)
        if (prior := nsp.prior(self.config)) is not None:
            scores[:, self.labels.index(prior[0])] -= self.cut
        return scores

    def save(self, folder: Path, whole: bool = True) -> None:
        if nsp.prior(self.config) is not None:
            write_json(folder / _CUT, {"cut": self.cut})

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        found: dict[str, Any] = {
            "shortened": self.shortened.get("test", 0),
            "model_parameters": sum(parameter.numel() for parameter in self.model.model.parameters()),
            "relations": list(self.model.relations),
        }
        return found | ({} if nsp.prior(self.config) is None else {"cut": self.cut})

    def _columns(self) -> list[Callable[[Split], np.ndarray]]:
        """For each label, what gives its scores `[examples]`: log-probabilities."""
        if nsp.asks_labels(self.config):
            words = resolve.verbalizer_words(self.config)
            return [self._of_words(nsp.asked(self.config), words[label]) for label in self.labels]
        pair = nsp.asked(self.config)
        return [self._of_relations(pair, label, own) for label, own in nsp.relations(self.config).items()]

    def _of_words(self, template: Template, words: Mapping[str, float]) -> Callable[[Split], np.ndarray]:
        """The weighted mean over words of how likely each makes a next sentence."""
        place = self.model.relations.index(NEXT)
        share = sum(words.values())
        return lambda split: sum(
            (
                weight / share * self._asked(nsp.filled(template, word), split)[:, place]
                for word, weight in words.items()
            ),
            start=np.zeros(len(split)),
        )

    def _of_relations(self, pair: Template, label: str, own: tuple[str, ...]) -> Callable[[Split], np.ndarray]:
        """How likely any of a label's relations is."""
        places = [place for place, relation in enumerate(self.model.relations) if relation in own]
        if not places:
            raise UserError(
                f"method=nsp: label '{label}' is {choices(own)}, and model.name={self.model.name} tells "
                f"{choices(self.model.relations)} alone."
            )
        return lambda split: np.logaddexp.reduce(self._asked(pair, split)[:, places], axis=1)

    def _scores(self, split: Split) -> np.ndarray:
        """Label scores as the model has them, `[examples, labels]`."""
        return np.stack([column(split) for column in self.columns], axis=1)

    def _asked(self, template: Template, split: Split) -> np.ndarray:
        """Log-probabilities of the relations, `[examples, relations]`, once in a process for a split that is kept."""
        how = (template.source, self.max_length, self.config.trainer.eval_batch_size)
        key = ("pairs", self.model.identity, *how, split.fingerprint)
        found: tuple[np.ndarray, int]
        if split.kept:
            found = self.context.session.memo.get(key, lambda: self._computed(template, split))
        else:
            found = self._computed(template, split)
        self.shortened[split.name] = max(found[1], self.shortened.get(split.name, 0))
        return found[0]

    def _computed(self, template: Template, split: Split) -> tuple[np.ndarray, int]:
        body, context = self.model.body, self.context
        tokens = PromptEncoder(body.tokenizer, template, self.max_length, body.mask_token)
        found, shortened = np.zeros((len(split), len(self.model.relations))), 0
        with context.clock.phase(f"evaluate {split.name}"), context.progress.stage("evaluate", len(split)) as advance:
            for start in range(0, len(split), CHUNK):  # what shares a batch decides the last digits
                prompts = tokens.encode(split.rows[start : start + CHUNK])
                shortened += sum(prompt.cut > 0 for prompt in prompts)
                for indices in buckets([len(prompt.ids) for prompt in prompts], self.config.trainer.eval_batch_size):
                    own = self.model.log_probabilities([prompts[index] for index in indices])
                    found[[start + index for index in indices]] = own.cpu().numpy()
                    advance(len(indices))
        if not np.isfinite(found).all():
            raise UserError(f"model.name={self.model.name}: answers are no numbers (NaN). {body.on_overflow}")
        return found, shortened
