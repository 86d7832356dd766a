"""The bench: scores candidates, each once and within the budget, and keeps what it knows in the search's folder.

All are scored as the frozen model answers with them (zero-shot), the best of them by cross-validation with a trained
head on the same states, and a few by cross-validation with the run's own tuning mode.
"""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from pet_cli.base.files import write_jsonl
from pet_cli.config.build import option
from pet_cli.config.schema import PetConfig
from pet_cli.config.search import Search as Settings
from pet_cli.data.examples import Split
from pet_cli.data.sampling import capped
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.methods.prompted import build_learner
from pet_cli.models.masked import MaskedLM
from pet_cli.search.base import Candidate, Looked
from pet_cli.search.scores import Score, cross_validated, folds, information, judged
from pet_cli.tuning import Learner, PromptLearner

WAYS = ("zero_shot", "head", "tuned")
"""How candidates are scored, each way closer to what a run does than the one before, and dearer."""

CANDIDATES = "candidates.jsonl"
_WRITE_EVERY = 5.0
"""Seconds between two writings of what is known while candidates are scored."""


class Spent(Exception):
    """The budget is spent, that of the key that it names."""


@dataclass
class Scored:
    """A candidate and what is known of it.

    Attributes:
        scores: by way (`WAYS`); empty where there are no labels.
        information: see `scores.information`.
        texts: how many texts the model read for it.
        steps: how many steps were trained for it.
        tokens: identifies what the model reads and is asked; equal for candidates that are the same to it.
        refused: why it does not count: it cannot be used, or is another one over again; empty where it does.
    """

    candidate: Candidate
    scores: dict[str, Score] = field(default_factory=dict)
    information: float = 0.0
    texts: int = 0
    steps: int = 0
    tokens: str = ""
    refused: str = ""

    @property
    def way(self) -> int:
        """The place in `WAYS` of the dearest way in which it was scored; -1 where labels told nothing."""
        return max((WAYS.index(way) for way in self.scores), default=-1)

    def by(self, way: str) -> tuple[float, float]:
        """What it is worth by one way of scoring, or by its information where there are no labels; larger is better.

        A search that goes by scores asks for the way that all candidates have, `zero_shot`: of an earlier command, some
        may be scored in a dearer way.
        """
        if self.way < 0:
            return self.information, 0.0
        own = self.scores.get(way)
        return (own.score, -own.loss) if own else (-math.inf, -math.inf)

    @property
    def rank(self) -> tuple[int, float, float]:
        """Larger is better: what was scored in a dearer way comes first."""
        return self.way, *self.by(WAYS[max(0, self.way)])


class Bench:
    """Scores candidates.

    Args:
        config: the run's settings.
        settings: the search's.
        folder: where what is known is kept; what an earlier command has left there is not computed again.

    Attributes:
        notes: what of the search a reader should know, such as candidate words that were left out.
        stopped: the key of the budget that ended the search before it had no more to try; None where none did.
    """

    def __init__(self, config: PetConfig, settings: Settings, looked: Looked, context: Context, folder: Path) -> None:
        self.config = config
        self.settings = settings
        self.looked = looked
        self.context = context
        self.path = folder / CANDIDATES
        self.known: dict[str, Scored] = {}
        self.notes: list[str] = []
        self.stopped: str | None = None
        self._tokens: dict[str, Candidate] = {}
        self._parts = folds(config, looked.train, settings.folds) if len(looked.train) else []
        self._begun = self._written = time.monotonic()
        self._share = 1.0
        self.ways = self._ways()

    def _ways(self) -> dict[str, PetConfig]:
        """The ways in which candidates can be scored here, each with its settings but for the candidate."""
        config = self.config
        found = {"zero_shot": replace(config, tuning=option("tuning", "zero_shot"))}
        if not config.tuning.trains or len(self._parts) < 2:
            return found
        if isinstance(self.context.session.language_model(config), MaskedLM):
            head = config.tuning if config.tuning.on_states else option("tuning", "head")
            found["head"] = replace(config, tuning=head)
        if self.settings.tuned and not config.tuning.on_states:
            found["tuned"] = config
        return found

    # --- budget ---

    @property
    def seconds(self) -> float:
        """This command's budget."""
        return float("inf") if self.settings.minutes is None else self.settings.minutes * 60 * self._share

    @property
    def left(self) -> float:
        """What of it is left."""
        return self.seconds - (time.monotonic() - self._begun)

    @property
    def budget(self) -> str:
        """The budget that ended the search, as it is written."""
        return f"search.{self.stopped}={getattr(self.settings, str(self.stopped)):g}"

    def share(self, part: float) -> None:
        """Lets what follows spend no more than a part of the budget, counted from the beginning."""
        self._share = part

    def _check_budget(self) -> None:
        if self.left <= 0:
            raise Spent("minutes")
        most = self.settings.candidates
        if most is not None and sum(one.texts > 0 for one in self.found) >= most:
            raise Spent("candidates")

    # --- scoring ---

    def score(self, candidates: Iterable[Candidate]) -> list[Scored]:
        """Scores candidates zero-shot; one that is known costs nothing, and counts once.

        Raises:
            Spent: before the first candidate for which nothing is left of the budget.
        """
        given = list(candidates)
        out = []
        with self.context.progress.stage("score", len(given)) as advance:
            for candidate in given:
                out.append(self._scored(candidate))
                advance(1)
        return out

    def _scored(self, candidate: Candidate) -> Scored:
        try:
            key = candidate.key(self.config)
        except UserError as error:
            return Scored(candidate, refused=str(error))
        if key not in self.known:
            if not candidate.hand_written:
                self._check_budget()
            self.known[key] = self._zero_shot(candidate)
            self.write(at_once=False)
        self.known[key] = self.known.pop(key)  # in the order of asking, whatever an earlier command has left
        return self.known[key]

    def _zero_shot(self, candidate: Candidate) -> Scored:
        one = Scored(candidate)
        split = self.texts
        try:
            learner = self.learner(candidate)
            with self.context.clock.phase("encode"):
                one.tokens = _tokens(learner, split)
            first = self._tokens.setdefault(one.tokens, candidate)
            if first is not candidate:
                one.refused = f"the same to the model as {first.written}"
                return one
            with self.context.clock.phase("zero-shot"):
                scores = learner.predict(learner.encode(split.rows, split.fingerprint))
        except UserError as error:
            one.refused = str(error)
            return one
        one.texts = len(split)
        one.information = information(scores)
        if len(self.looked.train):
            one.scores["zero_shot"] = judged(self.config, split, scores)
        return one

    def learner(self, candidate: Candidate) -> PromptLearner:
        """What asks the frozen model with a candidate. Raises `UserError` for one that cannot be used."""
        config = candidate.within(self.ways["zero_shot"])
        torch.manual_seed(config.trainer.seed)  # of label vectors that are drawn (scoring.init=random)
        learner = build_learner(config, self.context.session.language_model(config), self.context.session)
        assert isinstance(learner, PromptLearner)
        return learner

    @functools.cached_property
    def texts(self) -> Split:
        """What candidates are scored on: the training examples, or some unlabeled texts where there are none."""
        if len(self.looked.train):
            return self.looked.train
        return self.drawn(self.looked.unlabeled, self.settings.texts)

    def drawn(self, split: Split, most: int) -> Split:
        """At most so many of a split's texts, drawn by the seed: the first of a file may all be of one kind."""
        return Split(split.name, tuple(capped(split.examples, most, self.config.data.seed)))

    def cross_validate(self, one: Scored, way: str) -> Scored:
        """Scores a candidate by cross-validation in a dearer way, unless that is known or cannot be done.

        Raises:
            Spent: no time is left.
        """
        if way in one.scores or way not in self.ways or one.refused:
            return one
        if self.left <= 0:
            raise Spent("minutes")
        with self.context.clock.phase(way):
            one.scores[way], steps = cross_validated(
                one.candidate.within(self.ways[way]), self.context.session, self.looked.train, self._parts
            )
        one.steps += steps
        self.write(at_once=False)
        return one

    # --- what is known ---

    @property
    def found(self) -> list[Scored]:
        """What was found, without the hand-written."""
        return [one for one in self.known.values() if not one.candidate.hand_written]

    def ranked(self) -> list[Scored]:
        """All that can be used, the best first."""
        usable = [one for one in self.known.values() if not one.refused]
        return sorted(usable, key=lambda one: one.rank, reverse=True)

    def names(self) -> dict[str, Scored]:
        """What can be chosen by a run: the best that were found by f0, f1, …."""
        best = [one for one in self.ranked() if not one.candidate.hand_written][: self.settings.keep]
        return {f"f{place}": one for place, one in enumerate(best)}

    def write(self, at_once: bool = True) -> None:
        """Writes what is known; if not `at_once`, only where that has not been done for a while."""
        if not at_once and time.monotonic() - self._written < _WRITE_EVERY:
            return
        self._written = time.monotonic()
        names = {id(one): name for name, one in self.names().items()}
        refused = [one for one in self.known.values() if one.refused]
        write_jsonl(self.path, [row(one, names.get(id(one))) for one in [*self.ranked(), *refused]])

    def take(self, rows: Iterable[dict[str, object]]) -> None:
        """Takes over what an earlier command has written. Raises `UserError` for what none has."""
        for number, line in enumerate(rows, start=1):
            try:
                one = _read(line)
                self.known[one.candidate.key(self.config)] = one
            except (UserError, KeyError, TypeError, AttributeError):
                raise UserError(f"{self.path}, row {number} is damaged: it is no candidate of this search.") from None
            if not one.refused:
                self._tokens[one.tokens] = one.candidate


def row(one: Scored, name: str | None) -> dict[str, object]:
    """A line of the table of candidates."""
    candidate = one.candidate
    scores = {
        key: value
        for way, score in one.scores.items()
        for key, value in ((way, score.score), (f"{way}_loss", score.loss))
    }
    return {
        "name": candidate.origin if candidate.hand_written else name,
        "written": candidate.written,
        "origin": candidate.origin,
        **scores,
        "information": one.information,
        "texts": one.texts,
        "steps": one.steps,
        **({"refused": one.refused} if one.refused else {}),
        "hand_written": candidate.hand_written,
        "tokens": one.tokens,
    }


def _read(line: dict[str, object]) -> Scored:
    candidate = Candidate(line["written"], line["origin"], line["hand_written"])  # type: ignore[arg-type]
    scores = {way: Score(line[way], line[f"{way}_loss"]) for way in WAYS if way in line}  # type: ignore[arg-type]
    about = {key: line[key] for key in ("information", "texts", "steps", "tokens")}
    return Scored(candidate, scores, refused=str(line.get("refused", "")), **about)  # type: ignore[arg-type]


def _tokens(learner: PromptLearner, split: Split) -> str:
    """Identifies what the model reads of some texts, and which words it is asked for."""
    digest = hashlib.sha256()
    for prompt in Learner.encode(learner, split.rows, split.fingerprint).prompts:  # without its states
        digest.update(f"{prompt.ids} {prompt.types}".encode())
    own = zip(learner.verbalizer.owners, learner.answers.ids, strict=True)
    weights = [weight for words in learner.verbalizer.words.values() for weight in words.values()]
    digest.update(str(sorted(zip(own, weights, strict=True))).encode())
    return digest.hexdigest()[:16]
