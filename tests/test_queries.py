"""Queries: prompts with answers of their own, of one token or several, against a plain forward for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from goldens import World
from torch import Tensor

from pet_cli.config import registry
from pet_cli.config.build import option
from pet_cli.errors import UserError
from pet_cli.models.base import LanguageModel
from pet_cli.models.loading import load
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.encoder import PromptEncoder, word_ids
from pet_cli.prompts.query import Answers, Query
from pet_cli.prompts.template import Template
from pet_cli.training.loop import TrainSettings, train
from pet_cli.tuning.base import PromptLearner
from pet_cli.verbalizers.candidates import CandidatesVerbalizer

pytestmark = pytest.mark.xdist_group("families")

ModelOf = Callable[[str], MaskedLM]

TEXTS = ["the film was great", "a plot", "So I say: this story was bad, maybe it is terrible?"]
CANDIDATES = [["great", "a terrible story"], ["not so bad", "good", "the plot was great"], ["it is terrible", "great"]]
GOLD = torch.tensor([0, 2, 1])


def answers_of(lm: LanguageModel, texts: list[str], mean: bool = True) -> Answers:
    return Answers(tuple(tuple(word_ids(lm.tokenizer, text)) for text in texts), mean)


def queries_of(lm: LanguageModel, candidates: list[list[str]], mean: bool = True) -> list[Query]:
    answers = [answers_of(lm, own, mean) for own in candidates]
    encoder = PromptEncoder(lm.tokenizer, lm.adapt(Template.parse("{text} It was {mask}.")), 60, lm.mask_token)
    rows = [{"text": text} for text in TEXTS]
    prompts = encoder.encode(rows, [lm.masks_for(own) for own in answers])
    return [Query(prompt, own) for prompt, own in zip(prompts, answers, strict=True)]


def one_forward(lm: MaskedLM, text: str, candidates: list[str], mean: bool) -> Tensor:
    """Log-probabilities of candidates by the model's own call on the text with as many masks as the longest has."""
    ids = [word_ids(lm.tokenizer, candidate) for candidate in candidates]
    longest = max(map(len, ids))
    kinds = "token_type_ids" in lm.tokenizer.model_input_names or lm._takes_types
    inputs = lm.tokenizer(f"{text} It was {lm.mask_token * longest}.", return_token_type_ids=kinds, return_tensors="pt")
    masks = (inputs["input_ids"][0] == lm.tokenizer.mask_token_id).nonzero().flatten()
    assert len(masks) == longest
    table = lm.model(**inputs).logits[0, masks].log_softmax(-1)
    found = [table[range(len(own)), own] for own in ids]
    return torch.stack([own.mean() if mean else own.sum() for own in found])


@pytest.mark.parametrize("mean", [True, False])
@torch.inference_mode()
def test_a_masked_lm_fills_as_many_masks_as_the_longest_candidate_of_each_example(lm: MaskedLM, mean: bool) -> None:
    scores = lm.score(queries_of(lm, CANDIDATES, mean))
    assert scores.shape == (3, 3) and scores[0, 2] == scores[2, 2] == -torch.inf
    for row, text, own in zip(scores, TEXTS, CANDIDATES, strict=True):
        torch.testing.assert_close(row[: len(own)], one_forward(lm, text, own, mean), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_shared_answers_of_several_tokens_are_those_of_each_query(model_of: ModelOf) -> None:
    lm = model_of("roberta")
    shared = lm.score(queries_of(lm, [["great", "not so bad"]] * 3))
    for row, text in zip(shared, TEXTS, strict=True):
        torch.testing.assert_close(row, one_forward(lm, text, ["great", "not so bad"], True), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5", "bart"])
@torch.inference_mode()
def test_each_querys_own_answers_score_beside_others_as_alone(name: str, world: World) -> None:
    lm = load(str(world.model(name)), device="cpu")
    for candidates in (CANDIDATES, [["great", "bad"], ["good"], ["terrible", "bad", "good"]]):
        queries = queries_of(lm, candidates)
        together = lm.score(queries)
        for row, query in zip(together, queries, strict=True):
            own, alone = row[: len(query.answers)], lm.score([query])[0]
            if max(map(len, query.answers.ids)) == 1:  # up to a constant of the query
                own, alone = own.log_softmax(0), alone.log_softmax(0)
            torch.testing.assert_close(own, alone, atol=2e-5, rtol=1e-5)
            assert (row[len(query.answers) :] == -torch.inf).all()


def test_answers_of_one_token_cost_their_columns_alone(model_of: ModelOf, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = model_of("bert")
    asked: list[Any] = []
    project = type(lm).project

    def spy(self: MaskedLM, features: Tensor, words: Tensor | None) -> Tensor:
        asked.append((tuple(features.shape[:-1]), None if words is None else len(words)))
        return project(self, features, words)

    monkeypatch.setattr(type(lm), "project", spy)
    lm.score(queries_of(lm, [["great", "bad"]] * 3))
    lm.score(queries_of(lm, [["great", "bad"], ["good"], ["bad", "good"]]))
    assert asked == [((3,), 2), ((3,), 3)]


def learner_of(lm: LanguageModel, mode: str, template: str = "{text} It was {mask}.", **scoring: Any) -> PromptLearner:
    cls: type[PromptLearner] = registry.implementation("tuning", mode)
    torch.manual_seed(1)
    verbalizer = CandidatesVerbalizer({}, option("scoring", "words", **scoring))
    settings = option("tuning", mode)
    if hasattr(settings, "anchor"):
        settings.anchor = 0.0  # three examples would be held to their start
    return cls(lm, Template.parse(template), labels=[], settings=settings, max_length=60, verbalizer=verbalizer)


ROWS = [{"text": text} for text in TEXTS]
MODES = ("full", "head", "soft_prompt", "word_embedding", "p_tuning", "prefix", "lora", "bitfit")


@pytest.mark.parametrize(("name", "mode"), [*(("bert", mode) for mode in MODES), ("gpt2", "full"), ("t5", "prefix")])
def test_every_mode_learns_to_choose_among_an_examples_own_candidates(name: str, mode: str, world: World) -> None:
    lm = load(str(world.model(name)), device="cpu")
    learner = learner_of(lm, mode)
    untrained = learner_of(lm, "zero_shot")
    queries = queries_of(lm, CANDIDATES)
    expected = untrained.predict(untrained.encode(ROWS, candidates=CANDIDATES))
    with torch.inference_mode():
        torch.testing.assert_close(expected, lm.score(queries), atol=2e-5, rtol=1e-5)
    if mode in ("full", "head", "lora", "bitfit", "word_embedding"):  # the others begin elsewhere
        encoded = learner.encode(ROWS, candidates=CANDIDATES)
        torch.testing.assert_close(learner.predict(encoded), expected, atol=2e-5, rtol=1e-5)
    encoded = learner.encode(ROWS, candidates=CANDIDATES)
    rate = {"full": 3e-3, "head": 3e-3, "word_embedding": 0.3}.get(mode, 0.03)
    report = train(learner, encoded, GOLD, TrainSettings(steps=25, learning_rate=rate, batch_size=3))
    scores = learner.predict(encoded)
    assert report.losses[-1] < 0.9 * report.losses[0]
    assert scores.shape == (3, 3) and (scores[:, 2].isinf() == torch.tensor([True, False, True])).all()


def test_the_loss_is_the_cross_entropy_over_each_examples_candidates(model_of: ModelOf) -> None:
    lm = model_of("bert")
    learner = learner_of(lm, "zero_shot")
    encoded = learner.encode(ROWS, candidates=CANDIDATES)
    scores = learner.predict(encoded)
    by_hand = torch.stack(
        [-row[: len(own)].log_softmax(0)[gold] for row, own, gold in zip(scores, CANDIDATES, GOLD, strict=True)]
    ).mean()
    assert learner.loss(encoded, range(3), GOLD).item() == pytest.approx(by_hand.item(), rel=1e-5)
    shares = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]])
    rows = [row[: len(own)].log_softmax(0) for row, own in zip(scores, CANDIDATES, strict=True)]
    expected = -(rows[0].mean() + rows[1][0] + rows[2][1]) / 3
    assert learner.loss(encoded, range(3), shares).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_candidate_is_changed_as_the_mask_says(model_of: ModelOf) -> None:
    learner = learner_of(model_of("bert"), "zero_shot", "{text} It was {mask:strip,lower}.")
    [changed] = learner.candidate_answers([["A plot.", "Great!"]])
    assert changed.ids == answers_of(learner.lm, ["a plot", "great"]).ids


def test_a_candidate_without_tokens_or_with_too_many_is_refused(world: World) -> None:
    learner = learner_of(load(str(world.model("gpt2")), device="cpu"), "zero_shot")
    with pytest.raises(UserError, match=r"the candidate '\s*' is 0 tokens"):
        learner.encode(ROWS[:1], candidates=[["good", " "]])
    with pytest.raises(UserError, match="is 40 tokens for this model; 1 to 32 are allowed"):
        learner.encode(ROWS[:1], candidates=[["good", " ".join(["soup"] * 40)]])


def test_masks_that_leave_no_room_are_refused(model_of: ModelOf) -> None:
    learner = learner_of(model_of("bert"), "zero_shot")
    with pytest.raises(UserError, match=r"trainer\.max_length=60"):
        learner.encode(ROWS[:1], candidates=[["good", " ".join(["great"] * 70)]])
