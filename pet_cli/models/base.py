"""What every model family is to the rest of the package: prompts in, scores of label words out."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.base.files import atomic_folder
from pet_cli.prompts.batch import Batch, Prompt, collate
from pet_cli.prompts.context import Place
from pet_cli.prompts.query import Answers, Query
from pet_cli.prompts.template import Template

Asked = Answers | Sequence[Answers]


@dataclass(frozen=True)
class Tokenized:
    """What is known of a model by its tokenizer and its configuration alone, before it is loaded.

    Attributes:
        single_token_words: whether its label words are one token each, as in a masked LM.
        room: the most tokens of an answer.
    """

    tokenizer: Any
    single_token_words: bool
    room: int


class LanguageModel(ABC):
    """A pretrained language model as prompt-based classification sees it.

    Attributes:
        name: how the user named it.
        model: the model of transformers, with its language-model head.
        tokenizer: its fast tokenizer.
        width: the hidden size.
        identity: tells apart what computes otherwise: what it was loaded from, and how. It is part of the key of
            whatever is remembered of this model.
    """

    family: str
    """`masked`, `encoder_decoder` or `decoder_only`."""

    single_token_words = False
    """Whether a label word must be one token."""

    room = 10**9
    """The most tokens of an answer."""

    demonstrations_stand: Place = "behind"
    """Where demonstrations stand in a prompt."""

    def __init__(self, name: str, model: Any, tokenizer: Any, device: torch.device, bf16: bool = False) -> None:
        self.name = name
        self.model = model.to(device).eval()
        self.tokenizer = tokenizer
        self.device = device
        self.bf16 = bf16
        self.identity: tuple[Hashable, ...] = (name, str(device), bf16, object())  # `load` knows better
        self.width: int = model.config.hidden_size
        self._pristine: dict[str, Tensor] | None = None
        self._whole: LanguageModel | None = None

    @property
    @abstractmethod
    def mask_token(self) -> str:
        """The text of the token that stands for `{mask}`, and in place of trainable tokens, in a prompt."""

    @property
    def positions(self) -> int:
        """The most tokens of a prompt."""
        limit = int(getattr(self.model.config, "max_position_embeddings", 0) or 10**9)
        return min(limit, int(self.tokenizer.model_max_length))

    @property
    def default_learning_rate(self) -> float:
        """The rule for models without a stated rate: 1e-5 at BERT-large's width, growing with (1024 / width)^2.5.

        It gives 2.1e-5 for base models and 1.2e-4 at width 384: the best there for what a model has to learn anew, too
        much for what it knows already (docs/settings.md has figures).
        """
        return 1e-5 * (1024 / self.width) ** 2.5

    @property
    def on_overflow(self) -> str:
        """What to do where the model's numbers overflow, in words."""
        if self.bf16:
            return "Try precision=fp32."
        return "Its weights let numbers overflow: they are damaged, or were trained too far."

    def adapt(self, template: Template) -> Template:
        """The template as this family reads it. Raises `UserError` for one that it cannot."""
        return template

    def adapt_answered(self, template: Template) -> Template:
        """The template of a demonstration, whose mask an answer takes: as `adapt`, but no end of the prompt."""
        return self.adapt(template)

    @contextlib.contextmanager
    def remembering(self) -> Iterator[None]:
        """Within the block, in which no weight changes, what prompts have in common in front is read once."""
        yield

    def collate(self, prompts: list[Prompt]) -> Batch:
        return collate(prompts, self.tokenizer.pad_token_id, self.device)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    @abstractmethod
    def encode(self, batch: Batch, embeds: Tensor | None = None) -> Tensor:
        """States of the whole input, `[batch, length, hidden]`.

        Args:
            embeds: input embeddings `[batch, length, embedding]` in place of the looked-up ones, for soft prompts.
        """

    def summary(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Of the states `[batch, length, hidden]` the one that stands for the whole input, `[batch, hidden]`.

        It is that of the first token, [CLS].
        """
        return hidden[:, 0]

    def pooled(self, batch: Batch, pooling: str) -> Tensor:
        """One state for each input, `[batch, hidden]`, float32: `mean`, that of all its tokens, or `cls`, `summary`."""
        hidden = self.encode(batch).float()
        if pooling == "mean":
            mask = batch.attention_mask.unsqueeze(-1).float()
            return (hidden * mask).sum(1) / mask.sum(1)
        return self.summary(hidden, batch)

    @abstractmethod
    def states(self, batch: Batch, embeds: Tensor | None = None) -> Tensor:
        """The states that predict what stands at the masks, `[batch, masks, hidden]`, float32."""

    @property
    def projection(self) -> tuple[Tensor, Tensor | None]:
        """Weight `[vocabulary, embedding]` and bias `[vocabulary]` of the vocabulary projection."""
        output = self.model.get_output_embeddings()
        return output.weight, output.bias

    def features(self, states: Tensor) -> Tensor:
        """States as they enter the vocabulary projection: `[..., hidden] -> [..., embedding]`."""
        return states

    def word_scores(self, states: Tensor, words: Tensor | None) -> Tensor:
        """Logits of words of one token: `[..., hidden] -> [..., words]`; None is the whole vocabulary."""
        return self.project(self.features(states), words)

    def project(self, features: Tensor, words: Tensor | None) -> Tensor:
        """As `word_scores`, from features: `[..., embedding] -> [..., words]`."""
        weight, bias = self.projection
        if words is not None:
            weight, bias = weight[words], None if bias is None else bias[words]
        return F.linear(features, weight, bias)

    def masks_for(self, answers: Answers) -> int:
        """How many masks a prompt has where these answers are asked for."""
        return 1

    def score(self, queries: Sequence[Query], embeds: Callable[[Batch], Tensor | None] | None = None) -> Tensor:
        """Scores of each query's answers, `[queries, answers]`; -inf where a query has fewer than another.

        They are log-probabilities, but for a constant of the query where all its answers are one token, which a
        softmax over answers cancels.

        Args:
            embeds: input embeddings of a batch in place of the looked-up ones, for soft prompts.
        """
        batch = self.collate([query.prompt for query in queries])
        answers = [query.answers for query in queries]
        return self.score_answers(batch, answers, None if embeds is None else embeds(batch))

    def score_answers(self, batch: Batch, answers: Asked, embeds: Tensor | None = None) -> Tensor:
        """As `score`, of prompts put together already; answers are the batch's, or one object for each prompt."""
        return self.score_features(self.features(self.states(batch, embeds)), answers)

    def score_features(self, features: Tensor, answers: Asked) -> Tensor:
        """As `score`, from the features at the masks alone, `[batch, masks, embedding] -> [batch, answers]`.

        Of answers of one token, only their columns of the vocabulary projection are computed. Of longer ones each
        token is predicted at its own mask, all in one pass (Schick & Schütze 2021b, section 3.1 on training).
        """
        asked = self.tokens(answers)
        if asked.longest > 1:
            scores = asked.log_probabilities(self.project(features[:, : asked.longest], None))
        elif asked.shared:
            return self.project(features[:, 0], asked.first)
        else:
            words, columns = asked.first.unique(return_inverse=True)
            scores = self.project(features[:, 0], words).gather(1, columns)
        return scores.masked_fill(asked.lengths == 0, -torch.inf)

    def reads_states(self, answers: Asked) -> bool:
        """Whether the states at the masks tell all of these answers, so that they may be computed beforehand."""
        return self.tokens(answers).longest == 1

    def tokens(self, answers: Asked) -> AnswerTokens:
        return answer_tokens((answers,) if isinstance(answers, Answers) else tuple(answers), self.device)

    def save(self, folder: Path) -> None:
        """Writes model and tokenizer so that plain `from_pretrained` reads them; whole or not at all."""
        with atomic_folder(folder) as temporary:
            self.model.save_pretrained(temporary, safe_serialization=True)
            self.tokenizer.save_pretrained(temporary)

    def fingerprint(self) -> str:
        """Identifies the model as it stands: the shapes of its weights, and 64 numbers of each."""
        digest = hashlib.sha256()
        for name, parameter in self.model.named_parameters():
            digest.update(f"{name} {tuple(parameter.shape)}".encode())
            flat = parameter.detach().flatten()
            some = flat[:: max(1, len(flat) // 64)][:64]
            digest.update(some.to(torch.float32).cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def body(self) -> LanguageModel | None:
        """The model without its language-model head, on the same weights: what is trained of one is trained of both,
        and either restores both. None where the body is loaded as a model of its own.
        """
        if self.model.base_model is self.model:
            return None
        own = type(self)(self.name, self.model.base_model, self.tokenizer, self.device, self.bf16)
        own.identity = (*self.identity[:-1], False)
        own._whole = self
        return own

    def keep_pristine(self) -> None:
        """Remembers the weights as loaded, so that `restore` can undo a training of the whole model."""
        if self._whole is not None:
            self._whole.keep_pristine()
        elif self._pristine is None:
            self._pristine = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def restore(self) -> None:
        """The weights as loaded; a no-op where nothing was trained."""
        if self._whole is not None:
            self._whole.restore()
            return
        self.model.eval()
        self.model.requires_grad_(True)
        if self._pristine is not None:
            self.model.load_state_dict(self._pristine)


@contextlib.contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Modules and all below them in eval mode (no dropout) within the block; each then has the mode it had before."""
    before = [(module, module.training) for top in modules for module in top.modules()]
    for top in modules:
        top.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


class AnswerTokens:
    """Answers as tensors, one row for each query, or one alone where all queries share them.

    Attributes:
        ids: token ids, padded with 0 and with the first answer once more, `[rows, answers, longest]`.
        lengths: the number of tokens of each answer, 0 where a query has fewer answers, `[rows, answers]`.
        first: the first token of each answer, `[answers]` where shared, else `[rows, answers]`.
        longest: the most tokens of an answer.
        mean: whether scores are means over tokens, or sums.
    """

    def __init__(self, answers: Sequence[Answers], device: torch.device) -> None:
        self.shared = all(own == answers[0] for own in answers)
        rows = answers[:1] if self.shared else answers
        self.longest, most = max(own.longest for own in rows), max(map(len, rows))
        self.mean = rows[0].mean
        padded = [[[*ids, *[0] * (self.longest - len(ids))] for ids in own.ids] for own in rows]
        self.ids = torch.tensor([own + own[:1] * (most - len(own)) for own in padded], device=device)
        lengths = [[*map(len, own.ids), *[0] * (most - len(own))] for own in rows]
        self.lengths = torch.tensor(lengths, device=device)
        self.first = self.ids[0, :, 0] if self.shared else self.ids[:, :, 0]

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """The log-probability of each answer, its i-th token at the i-th place, `[batch, answers]`.

        Args:
            logits: at each place, `[batch, longest, vocabulary]`.
        """
        ids = self.ids.expand(len(logits), -1, -1).transpose(1, 2)  # [batch, longest, answers]
        # gather, then subtract the log-normaliser: the log-probabilities of the whole vocabulary are never held
        own = logits.gather(2, ids) - logits.logsumexp(-1, keepdim=True)
        behind = torch.arange(self.longest, device=ids.device).unsqueeze(1) >= self.lengths.unsqueeze(1)
        scores = own.masked_fill(behind, 0).sum(dim=1)
        return scores / self.lengths.clamp(min=1) if self.mean else scores


@functools.lru_cache(maxsize=64)
def answer_tokens(answers: tuple[Answers, ...], device: torch.device) -> AnswerTokens:
    with torch.inference_mode(False):  # kept for training too
        return AnswerTokens(answers, device)
