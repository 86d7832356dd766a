"""A network from scratch over word vectors, trained as everything else is: what `cnn` and `bilstm` share.

Each field of a text goes through the same body; what comes of all fields enters one linear layer.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.base.files import read_json, write_json
from pet_cli.base.tensors import read_tensors, write_tensors
from pet_cli.config import resolve
from pet_cli.config.method import NetworkSettings
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.methods.base import CHUNK, Context, Method
from pet_cli.methods.prompted import good_on, to_learn, trained_facts
from pet_cli.methods.words import WordSource, word_source
from pet_cli.models.base import evaluating
from pet_cli.models.loading import pick_device
from pet_cli.prompts.batch import buckets
from pet_cli.training.loop import TrainReport, TrainSettings, balanced_weights, steps_for, train

LONGEST = 256
"""The most words of a field, where `trainer.max_length` says nothing."""


class Body(nn.Module):
    """Reads word vectors `[texts, words, width]`, of which each text has `lengths` `[texts]`, at least one.

    What it makes of a text, `[texts, features]`, depends on the text alone and not on its padding.
    """

    features: int


class Network(nn.Module):
    """Word vectors, a body over each field, and a linear layer behind dropout.

    Args:
        vectors: of the words that it knows by itself, `[words, width]`.
        static: whether these stay as they are.
    """

    def __init__(self, vectors: Tensor, static: bool, body: Body, fields: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors, requires_grad=not static)
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(fields * body.features, labels)

    def forward(self, fields: Sequence[tuple[Tensor, Tensor]], others: Tensor) -> Tensor:
        """Label scores `[texts, labels]`.

        Args:
            fields: of each, words `[texts, words]` (0 is none, the next are this network's own, then the others) and
                their numbers `[texts]`.
            others: vectors of words that it does not know by itself, `[others, width]`.
        """
        none = self.vectors.new_zeros(1, self.vectors.shape[1])
        table = torch.cat([none, self.vectors, others])
        read = [self.body(F.embedding(words, table), lengths) for words, lengths in fields]
        scores: Tensor = self.linear(self.dropout(torch.cat(read, dim=1)))
        return scores


@dataclass(frozen=True)
class Texts:
    """Texts as a network reads them.

    Attributes:
        fields: of each text, of each field the numbers of its words, at least one.
        others: see `Network.forward`.
        shortened: how many texts had more words than are read.
        unknown: the share of words whose vector is zero.
    """

    fields: list[list[list[int]]]
    others: Tensor
    shortened: int
    unknown: float

    def __len__(self) -> int:
        return len(self.fields)


class NetworkLearner:
    """A network and its words, as the training loop wants them (`training.loop.Trainable`).

    Args:
        body: draws what reads the word vectors anew, from torch's global generator.

    Attributes:
        words: the words of the training examples, whose vectors belong to the network, and their places.
    """

    def __init__(self, config: PetConfig, source: WordSource, body: Callable[[], Body]) -> None:
        self.settings: NetworkSettings = config.method
        self.source = source
        self.device = pick_device(config.device)
        self.longest = config.trainer.max_length or LONGEST
        self.batch_size = config.trainer.eval_batch_size
        self.fields = list(config.task.fields)
        self.labels = len(resolve.labels(config))
        self.words: dict[str, int] = {}
        self._body = body
        self._make()

    def _make(self, vectors: Tensor | None = None) -> None:
        """The network anew, with the vectors of its words `[words, width]`, or those that they begin with."""
        vectors = self.source.start(list(self.words)) if vectors is None else vectors
        body, size = self._body(), (len(self.fields), self.labels, self.settings.dropout)
        self.network = Network(vectors, self.settings.static, body, *size).to(self.device).eval()

    def learn_words(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Takes the words of the training examples for its own."""
        told = [word for row in self._words(rows) for field in row for word in field[: self.longest]]
        self.words = {word: place for place, word in enumerate(dict.fromkeys(told))}

    def _words(self, rows: Sequence[Mapping[str, str]]) -> list[list[list[str]]]:
        """The words of each field of each row."""
        texts = [row[field].encode(errors="replace").decode() for row in rows for field in self.fields]
        found, n = self.source.words(texts), len(self.fields)
        return [found[start : start + n] for start in range(0, len(found), n)]

    def read(self, rows: Sequence[Mapping[str, str]]) -> Texts:
        """Numbers the words of texts; a text without any has one that nobody knows."""
        told = self._words(rows)
        others = sorted({word for row in told for field in row for word in field[: self.longest]} - set(self.words))
        vectors = self.source.vectors(others)
        numbers = {word: place + 1 for word, place in self.words.items()}
        known = (vectors != 0).any(dim=1).tolist()
        numbers |= {word: len(self.words) + 1 + i for i, word in enumerate(others) if known[i]}
        fields = [[[numbers.get(word, 0) for word in field[: self.longest]] or [0] for field in row] for row in told]
        flat = [number for row in fields for field in row for number in field]
        own = (self.network.vectors != 0).any(dim=1).tolist()  # a training word's too, where it stays as it began
        nothing = {0, *(place for place, there in enumerate(own, start=1) if not there)}
        return Texts(
            fields,
            vectors.to(self.device),
            shortened=sum(any(len(field) > self.longest for field in row) for row in told),
            unknown=sum(number in nothing for number in flat) / max(1, len(flat)),
        )

    # --- what the loop asks for ------------------------------------------------------------------------------------

    @property
    def body(self) -> nn.Module:
        return self.network

    @property
    def on_overflow(self) -> str:
        return f"The numbers of method.vectors={self.settings.vectors} are too large."

    def begin(self) -> None:
        self._make()

    def end(self) -> None:
        """There is nothing to fold away."""

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        with evaluating(self.network):
            self.network.train()
            yield

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        named = [(name, one) for name, one in self.network.named_parameters() if one.requires_grad]
        decayed = [one for name, one in named if one.dim() > 1 and name != "vectors"]
        plain = [one for name, one in named if one.dim() <= 1 or name == "vectors"]  # a rare word would fade
        return [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]

    def loss(
        self,
        texts: Texts,
        indices: Sequence[int],
        targets: Tensor,
        weight: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        return F.cross_entropy(self.scores(texts, indices) / temperature, targets, weight=weight) * temperature**2

    def scores(self, texts: Texts, indices: Sequence[int]) -> Tensor:
        """Label scores `[indices, labels]` of some of the texts."""
        fields = []
        for place in range(len(self.fields)):
            words = [torch.tensor(texts.fields[index][place]) for index in indices]
            lengths = torch.tensor([len(one) for one in words])
            fields.append((nn.utils.rnn.pad_sequence(words, batch_first=True).to(self.device), lengths))
        scores: Tensor = self.network(fields, texts.others)
        return scores

    def predict(self, texts: Texts) -> Tensor:
        """Label scores `[texts, labels]`, computed longest first. Asking changes nothing."""
        out = torch.zeros(len(texts), self.labels)
        lengths = [sum(map(len, fields)) for fields in texts.fields]
        with torch.inference_mode(), evaluating(self.network):
            for indices in buckets(lengths, self.batch_size):
                out[indices] = self.scores(texts, indices).float().cpu()
        return out

    # --- folders -----------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        write_json(folder / "vocabulary.json", list(self.words))
        write_tensors(folder / "trained.safetensors", self.network.state_dict(), {"vectors": self.source.identity})

    def load(self, folder: Path) -> None:
        path = folder / "trained.safetensors"
        state, metadata = read_tensors(path)
        words = read_json(folder / "vocabulary.json")
        if metadata.get("vectors") != self.source.identity:
            raise UserError(
                f"{path} was trained on other word vectors than those that method.vectors={self.settings.vectors} now "
                "names, and means nothing to these."
            )
        try:
            self.words = {word: place for place, word in enumerate(words)}
            self._make(torch.zeros(len(self.words), self.source.width))
            self.network.load_state_dict(state)
        except (RuntimeError, TypeError):
            raise UserError(f"{path} is damaged, or does not belong to vocabulary.json beside it.") from None


class NetworkMethod(Method):
    """A network from scratch; its kinds say what reads the word vectors."""

    def __init__(self, config: PetConfig, context: Context) -> None:
        super().__init__(config, context)
        torch.manual_seed(config.trainer.seed)
        source = word_source(config, context)
        self.learner = NetworkLearner(config, source, lambda: self.make_body(config.method, source.width))
        self.trained: tuple[TrainReport, TrainSettings] | None = None
        self.read: dict[str, tuple[int, float]] = {}

    @classmethod
    @abstractmethod
    def make_body(cls, settings: Any, width: int) -> Body:
        """What reads word vectors of a width, drawn anew from torch's global generator."""

    @classmethod
    def build(cls, config: PetConfig, context: Context) -> NetworkMethod:
        return cls(config, context)

    def fit(self, splits: Mapping[str, Split]) -> None:
        sample, trainer, settings = self.sample(splits), self.config.trainer, self.learner.settings
        steps = steps_for(len(sample), trainer.max_steps, trainer.batch_size, settings)
        how = TrainSettings.of(trainer, steps, trainer.learning_rate or settings.learning_rate)
        weights = balanced_weights(sample.gold, len(self.labels)) if trainer.class_weights == "balanced" else None
        self.learner.learn_words(sample.rows)
        dev = None
        if own := splits.get("dev"):
            dev = (self.learner.read(own.rows), good_on(self.config, own))
        with self.context.clock.phase("train"), self.context.progress.stage("train", steps) as advance:
            texts, wanted = self.learner.read(sample.rows), to_learn(self.config, sample)
            report = train(self.learner, texts, wanted, how, class_weight=weights, dev=dev, advance=advance)
        self.trained = report, how

    def predict(self, split: Split) -> np.ndarray:
        found, rows = [np.zeros((0, len(self.labels)), dtype=np.float32)], split.rows
        shortened, unknown = 0, 0.0
        with self.context.clock.phase(f"evaluate {split.name}"):
            for start in range(0, len(rows), CHUNK):
                texts = self.learner.read(rows[start : start + CHUNK])
                found.append(self.learner.predict(texts).numpy())
                shortened, unknown = shortened + texts.shortened, unknown + texts.unknown * len(texts) / len(rows)
        self.read[split.name] = shortened, unknown
        return np.concatenate(found)

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        shortened, unknown = self.read.get("test", (0, 0.0))
        own = [one.numel() for one in self.learner.network.parameters() if one.requires_grad]
        found = {"shortened": shortened, "unknown_words": round(unknown, 4), "trained_parameters": sum(own)}
        return found | (trained_facts(*self.trained) if self.trained else {})

    def save(self, folder: Path, whole: bool = True) -> None:
        self.learner.save(folder)

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> NetworkMethod:
        with torch.random.fork_rng(devices=[]):  # what is about to be loaded is drawn first
            own = cls(config, context)
            own.learner.load(folder)
        return own
