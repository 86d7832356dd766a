"""What every tuning mode is: a way from encoded examples to label scores, some parameters, and a loss."""

from __future__ import annotations

import contextlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.base.memo import Memo
from pet_cli.base.tensors import read_tensors, write_tensors
from pet_cli.errors import UserError
from pet_cli.models.base import Asked, LanguageModel, evaluating
from pet_cli.prompts.batch import Batch, Prompt, batches_of
from pet_cli.prompts.demonstrations import Demonstrations
from pet_cli.prompts.encoder import PromptEncoder, word_ids
from pet_cli.prompts.query import Answers
from pet_cli.prompts.template import Mask, Template
from pet_cli.tuning.at_mask import AtMask, label_answers
from pet_cli.tuning.encoded import Encoded
from pet_cli.tuning.in_context import InContext
from pet_cli.tuning.slots import hard_template
from pet_cli.verbalizers.base import Verbalizer

Advance = Callable[[int], None]


class Learner(ABC):
    """A language model with a tuning mode.

    Args:
        lm: the language model, shared by the runs of a process; a mode that changes it says so in `begin`.
        template: the prompt's template, or a classifier's plain input.
        labels: names of the labels, in the order of the columns of label scores.
        settings: the mode's own settings (its dataclass in `config/tuning.py`).
        max_length: the most tokens of a prompt.
        batch_size: examples in a batch where nothing trains.
        memo: what this process has computed already.
    """

    lm_loss_trains = True
    """Whether a language-model loss reaches something that trains: not where word weights alone do."""

    def __init__(
        self,
        lm: LanguageModel,
        template: Template,
        labels: Sequence[str],
        settings: Any,
        max_length: int = 256,
        batch_size: int = 32,
        memo: Memo | None = None,
    ) -> None:
        self.lm = lm
        self.labels = list(labels)
        self.settings = settings
        template = self.template = self.own_template(template)
        self.max_length = max_length
        self.batch_size = batch_size
        self.memo = memo or Memo()
        self.encoder = self.make_encoder(lm.adapt(template))
        self.in_context: InContext | None = None

    @property
    def device(self) -> torch.device:
        return self.lm.device

    @property
    def body(self) -> nn.Module:
        model: nn.Module = self.lm.model
        return model

    @property
    def on_overflow(self) -> str:
        return self.lm.on_overflow

    def make_encoder(self, template: Template) -> PromptEncoder:
        return PromptEncoder(self.lm.tokenizer, template, self.max_length, self.lm.mask_token)

    def own_template(self, template: Template) -> Template:
        """The template as this mode reads it. Raises `UserError` for one that it cannot."""
        return template

    def encode(
        self,
        rows: Sequence[Mapping[str, str]],
        fingerprint: str | None = None,
        advance: Advance | None = None,
        candidates: Sequence[Sequence[str]] | None = None,
    ) -> Encoded:
        """Makes rows ready: token ids, and what of a frozen model need be computed once.

        Args:
            candidates: the answers that each row brings, where the task has such.
            fingerprint: identifies the rows, which are then encoded once in a process for each model and template.
            advance: called with the number of examples that went through the model.
        """
        answers = None if candidates is None else self.candidate_answers(candidates)
        masks = None if answers is None else [self.lm.masks_for(own) for own in answers]
        queries, context = self.queries(rows, fingerprint, masks), self.in_context
        if context is None:
            return Encoded(queries, candidates=answers)
        if fingerprint is None or context.key is None:
            return Encoded(context.prompts(queries, rows), draws=context.draws)
        key = ("shown", *self._how(), context.key, fingerprint)
        return Encoded(self.memo.get(key, lambda: context.prompts(queries, rows)), draws=context.draws)

    def queries(
        self, rows: Sequence[Mapping[str, str]], fingerprint: str | None, masks: Sequence[int] | None = None
    ) -> list[Prompt]:
        """The prompts of rows without demonstrations; see `encode`."""
        if fingerprint is None:
            return self.encoder.encode(rows, masks)
        return self.memo.get(("prompts", *self._how(), fingerprint), lambda: self.encoder.encode(rows, masks))

    def _how(self) -> tuple[Hashable, ...]:
        """What identifies the way in which rows are encoded."""
        return self.lm.identity, type(self.encoder).__name__, self.template.source, self.max_length

    def candidate_answers(self, candidates: Sequence[Sequence[str]]) -> list[Answers]:
        """The tokens of what each example brings. Raises `UserError` where this mode cannot ask for them."""
        raise UserError(f"tuning={self.settings.name} has no mask to put an example's candidates at.")

    def columns(self, encoded: Encoded) -> int:
        """How many scores an example has at most: one for each label, or for each of its own candidates."""
        return len(self.labels) if encoded.candidates is None else max(map(len, encoded.candidates))

    def begin(self) -> None:  # noqa: B027
        """Called before training: makes parameters anew, by draws from the global generator."""

    def end(self) -> None:  # noqa: B027
        """Called after training: folds away what only training needed. Nothing trains after it."""

    @property
    def trains_model(self) -> bool:
        """Whether training changes the language model itself, so that saving a run means saving it whole."""
        return bool(self.settings.changes_model)

    def modules(self) -> list[nn.Module]:
        """The model, and the modules of its own."""
        own = [value for value in vars(self).values() if isinstance(value, nn.Module)]
        return [self.lm.model, *own]

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """The modes of training within the block: dropout where `settings.dropout` asks for it."""
        with evaluating(*self.modules()):
            for module in self.modules():
                module.train(bool(self.settings.drops_out))
            yield

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """No dropout and no gradient within the block, whatever the modes are; they are given back behind it."""
        with torch.inference_mode(), evaluating(*self.modules()):
            yield

    @abstractmethod
    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """What trains, as the optimizer's groups."""

    @abstractmethod
    def label_scores(self, encoded: Encoded, indices: Sequence[int]) -> Tensor:
        """Scores `[batch, labels]` of some of the examples; their softmax is the prediction."""

    def loss(
        self,
        encoded: Encoded,
        indices: Sequence[int],
        targets: Tensor,
        weight: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """The training loss; targets are label indices `[batch]` or probabilities `[batch, labels]`.

        With a `temperature` T the scores are divided by it and the loss multiplied by T^2 (Hinton et al. 2015).
        """
        scores = self.label_scores(encoded, indices) / temperature
        return F.cross_entropy(scores, targets, weight=weight) * temperature**2

    @abstractmethod
    def trained_state(self) -> dict[str, Tensor]:
        """What was trained beside the model itself, by name, as `load_trained_state` takes it. Changes nothing."""

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes over what `trained_state` gave. Raises `UserError` where names or shapes are others."""
        own = self.trained_state()
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in state.items()}:
            raise UserError("the saved parts do not fit this model, template and verbalizer.")
        self.end()  # what was folded away is saved folded
        with torch.no_grad():
            for name, tensor in self.trained_state().items():
                tensor.copy_(state[name])

    def trained_parameters(self) -> int:
        return sum(p.numel() for group in self.parameter_groups(1.0) for p in group["params"])

    def predict(self, encoded: Encoded, advance: Advance | None = None) -> Tensor:
        """Scores of all examples `[examples, labels]`, in their order, computed longest first; the mean over the draws
        of an example's demonstrations.

        Asking changes nothing: no weight, no mode, no random state.
        """
        out = torch.full((len(encoded), self.columns(encoded)), -torch.inf)
        with self.asking(), self.lm.remembering():
            for indices in batches_of(encoded.prompts, self.batch_size):
                scores = self.label_scores(encoded, indices).float().cpu()
                out[indices, : scores.shape[1]] = scores
                if advance is not None:
                    advance(len(indices))
        if out.isnan().any():
            raise UserError(
                f"model.name={self.lm.name}: {int(out.isnan().any(dim=1).sum())} of {len(out)} answers are no numbers "
                f"(NaN). {self.lm.on_overflow}"
            )
        return out if encoded.draws == 1 else out.unflatten(0, (encoded.draws, -1)).mean(dim=0)

    def save(self, folder: Path, whole: bool) -> None:
        """Writes what was trained as safetensors; `whole` adds the language model where training changed it."""
        forget(folder)
        if state := self.trained_state():
            write_tensors(folder / "trained.safetensors", state, self.metadata())
        if whole and self.trains_model:
            self.lm.save(folder / "model")

    def metadata(self) -> dict[str, str]:
        """What the file of trained parts says beside them: the model, as trained along, that they belong to."""
        return {"model": self.lm.fingerprint()}

    def load(self, folder: Path) -> None:
        """Takes over what `save` wrote (the model itself is loaded from `folder/model` before)."""
        if self.trained_state():
            path = folder / "trained.safetensors"
            state, metadata = read_tensors(path)
            own = self.metadata()
            if metadata.get("model", own["model"]) != own["model"]:
                raise UserError(
                    f"{path} was trained on another model than model.name={self.lm.name}, and means nothing to this "
                    "one."
                )
            try:
                self.load_trained_state(state)
            except UserError as error:
                raise UserError(f"{path}: {error}") from None


class PromptLearner(Learner):
    """A learner that asks a verbalizer what stands at the mask.

    Attributes:
        answers: the tokens of the label words.
    """

    def __init__(self, *args: Any, verbalizer: Verbalizer, **options: Any) -> None:
        super().__init__(*args, **options)
        self.answers = label_answers(self.lm, verbalizer, self.template.mask_without_space())
        verbalizer.bind(self.lm, self.answers)
        self.verbalizer = verbalizer.to(self.lm.device)

    def own_template(self, template: Template) -> Template:
        return hard_template(template, self.settings.name)

    def show(self, demonstrations: Demonstrations) -> None:
        """Puts demonstrations into every prompt from now on. Raises `UserError` for more than fit."""
        self.in_context = InContext(self, demonstrations)

    def candidate_answers(self, candidates: Sequence[Sequence[str]]) -> list[Answers]:
        """The tokens of each example's candidates, changed as the template's mask says.

        Raises:
            UserError: one without a token, or with more than the model has room for.
        """
        [mask] = (part for part in self.template.parts if isinstance(part, Mask))
        mask_without_space = self.template.mask_without_space()

        def tokens(text: str) -> tuple[int, ...]:
            asked = mask.candidate(text)
            ids = tuple(word_ids(self.lm.tokenizer, asked, space=not mask_without_space)) if asked else ()
            if not 0 < len(ids) <= self.lm.room:
                raise UserError(
                    f"the candidate '{text[:60]}' is {len(ids)} tokens for this model; 1 to {self.lm.room} are allowed."
                )
            return ids

        return [
            Answers(tuple(map(tokens, own)), getattr(self.verbalizer.settings, "length_normalise", True))
            for own in candidates
        ]

    def embeds(self, batch: Batch) -> Tensor | None:
        """Input embeddings `[batch, length, embedding]` in place of the looked-up ones, for soft prompts."""
        return None

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """The model with what this mode adds to it, within the block."""
        yield

    def features(self, states: Tensor) -> Tensor:
        """States as they enter the vocabulary projection: `[batch, hidden] -> [batch, embedding]`."""
        return self.lm.features(states)

    def score_answers(self, mask: AtMask, answers: Asked) -> Tensor:
        """Scores of answers at the mask, `[batch, answers]`."""
        if self.lm.reads_states(answers):
            return self.lm.score_features(self.features(mask.at_masks), answers)
        return self.lm.score_answers(mask.batch, answers, mask.embeds)

    def at_mask(self, encoded: Encoded, indices: Sequence[int]) -> AtMask:
        """What the model says at the masks of some examples; to be asked while the mode is `attached`."""
        states = None if encoded.states is None else encoded.states[indices]
        candidates = None if encoded.candidates is None else [encoded.candidates[index] for index in indices]
        return AtMask(self, [encoded.prompts[index] for index in indices], states, candidates)

    def label_scores(self, encoded: Encoded, indices: Sequence[int]) -> Tensor:
        with self.attached():
            return self.verbalizer(self.at_mask(encoded, indices))  # type: ignore[no-any-return]

    def loss(
        self,
        encoded: Encoded,
        indices: Sequence[int],
        targets: Tensor,
        weight: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        with self.attached():
            loss = self.verbalizer.loss(self.at_mask(encoded, indices), targets, weight, temperature)
        return loss + self.penalty(encoded.examples)

    def penalty(self, examples: int) -> Tensor | float:
        """What the loss gains whatever the batch: the verbalizer's and the mode's own."""
        penalties = (self.verbalizer.penalty(examples), self.l2_sp(examples))
        return sum((penalty for penalty in penalties if penalty is not None), start=0.0)

    def vocabulary_scores(self, batch: Batch, places: Tensor) -> Tensor:
        """Logits over the vocabulary at some places of a batch, through whatever this mode trains.

        Args:
            places: `[batch, length]`, boolean.

        Returns:
            `[places, vocabulary]`.
        """
        with self.attached():
            return self.lm.word_scores(self.lm.encode(batch, self.embeds(batch)).float()[places], None)

    def l2_sp(self, examples: int) -> Tensor | None:
        """What the loss gains for the distance of what trains from its start `[]`, by how many examples there are: an
        L2-SP penalty (Li, Grandvalet and Davoine, ICML 2018).
        """
        return None

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return self.verbalizer.parameter_groups()

    def trained_state(self) -> dict[str, Tensor]:
        return {f"verbalizer.{name}": tensor for name, tensor in self.verbalizer.state_dict(keep_vars=True).items()}

    @torch.no_grad()  # not inference_mode: a head trains on them
    def frozen_states(self, encoded: Encoded, fingerprint: str | None, advance: Advance | None) -> Tensor:
        """States of the frozen model at the masks of all examples, `[examples, masks, hidden]`, computed once."""

        def compute() -> Tensor:
            masks = max(len(prompt.masks) for prompt in encoded.prompts)
            out = torch.zeros(len(encoded), masks, self.lm.width, device=self.lm.device)
            with evaluating(self.lm.model), self.lm.remembering():
                for indices in batches_of(encoded.prompts, self.batch_size):
                    states = self.lm.states(self.lm.collate([encoded.prompts[i] for i in indices]))
                    out[indices, : states.shape[1]] = states
                    if advance is not None:
                        advance(len(indices))
            return out

        if fingerprint is None:
            return compute()
        shown = None if self.in_context is None else self.in_context.key
        how = (self.template.source, self.max_length, self.batch_size, shown)
        return self.memo.get(("states", self.lm.identity, *how, fingerprint), compute)


def forget(folder: Path) -> None:
    """Removes what an earlier `save` left in a folder, of another mode perhaps, so that `load` never mixes two."""
    (folder / "trained.safetensors").unlink(missing_ok=True)
    for name in ("model", "adapter"):
        shutil.rmtree(folder / name, ignore_errors=True)


def decay_groups(parameters: Sequence[tuple[str, nn.Parameter]], learning_rate: float) -> list[dict[str, Any]]:
    """Optimizer groups in which biases and norms (one dimension) have no weight decay."""
    decayed = [p for _, p in parameters if p.requires_grad and p.dim() > 1]
    plain = [p for _, p in parameters if p.requires_grad and p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed, "lr": learning_rate}] if decayed else []
    return groups + ([{"params": plain, "lr": learning_rate, "weight_decay": 0.0}] if plain else [])
