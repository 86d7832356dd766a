"""`method=nsp`: a next-sentence head asked for labels and for pairs, by hand and through all that a run does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldens import CONF, DATA, World, pet, read, read_rows
from transformers import AutoTokenizer, BertForNextSentencePrediction, BertForSequenceClassification

from pet_cli import methods
from pet_cli.commands.compose import compose
from pet_cli.config.nsp import bordered
from pet_cli.data.examples import Example, Split
from pet_cli.errors import UserError
from pet_cli.methods.nsp import NspMethod
from pet_cli.prompts.template import Template

NAMES = ("entailment", "contradiction", "neutral")
SAME = "method.relations={same: entailment, other: contradiction, unclear: neutral}"


@pytest.fixture(scope="module")
def related(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT with three relations in another order, and in capitals, as published models have them."""
    folder = tmp_path_factory.mktemp("related")
    names = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
    torch.manual_seed(0)
    model = BertForSequenceClassification.from_pretrained(world.model("bert"), num_labels=3, id2label=names)
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(world.model("bert")).save_pretrained(folder)
    return folder


def method(model: Path, *overrides: str, task: str = "meals") -> methods.Method:
    given = [f"task={task}", "method=nsp", f"model.name={model}", "device=cpu", *overrides]
    return methods.build(compose(given, str(CONF)))


def rows(*texts: str, task: str = "meals") -> Split:
    fields = ("first", "second") if task == "pairs" else ("text",)
    return Split.passing([dict(zip(fields, text.split(" / "), strict=True)) for text in texts])


def by_hand(model: Any, folder: Path, first: str, second: str) -> np.ndarray:
    """The log-probabilities that transformers itself has for a pair of texts."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = model.from_pretrained(folder).eval()(**tokenizer(first, second, return_tensors="pt")).logits
    return np.asarray(logits.log_softmax(-1)[0])


def test_a_label_scores_as_its_words_are_the_next_sentence(world: World) -> None:
    folder = world.model("bert")
    ours = method(folder, "pattern=p0", "verbalizer={tasty: [good, great], bland: {bad: 1, dull: 3}}")
    text = "the soup was warm"
    [scores] = ours.predict(rows(text))
    bordered_ = bordered(Template.parse(compose(["task=meals"], str(CONF)).task.patterns[0])).source
    first, second = (part.strip() for part in bordered_.replace("{text}", text).split(" | "))

    def next_one(word: str) -> float:
        return float(by_hand(BertForNextSentencePrediction, folder, first, second.replace("{mask}", word))[0])

    tasty, bland = (next_one("good") + next_one("great")) / 2, (next_one("bad") + 3 * next_one("dull")) / 4
    named = dict(zip(ours.labels, scores, strict=True))
    assert named == pytest.approx({"tasty": tasty, "bland": bland}, abs=1e-5)


def test_a_pair_scores_by_the_relations_of_its_label(related: Path) -> None:
    ours = method(related, SAME, task="pairs")
    [scores] = ours.predict(rows("the tea is hot / the tea was cold", task="pairs"))
    told = by_hand(BertForSequenceClassification, related, "the tea is hot", "the tea was cold")
    named = dict(zip(ours.labels, scores, strict=True))
    assert named == pytest.approx({"same": told[2], "other": told[0], "unclear": told[1]}, abs=1e-5)


@pytest.mark.parametrize("labels", [["entailment", "not_entailment"], ["not_entailment", "entailment"]])
def test_relations_follow_from_the_names_of_labels(related: Path, labels: list[str]) -> None:
    ours = method(related, f"task.labels={labels}", "verbalizer={entailment: a, not_entailment: b}", task="pairs")
    [scores] = ours.predict(rows("the tea is hot / the tea was cold", task="pairs"))
    told = by_hand(BertForSequenceClassification, related, "the tea is hot", "the tea was cold")
    named = dict(zip(ours.labels, scores, strict=True))
    assert named["entailment"] == pytest.approx(told[2], abs=1e-5)
    assert named["not_entailment"] == pytest.approx(np.log(1 - np.exp(told[2])), abs=1e-4)


def test_pairs_are_ranked_and_cut_at_the_prior_on_texts_without_labels(related: Path) -> None:
    two = ("task.labels=[same, other]", "verbalizer={same: a, other: b}", "method.prior={same: 0.25}",
           "method.relations={same: entailment, other: [contradiction, neutral]}")  # fmt: skip
    ours = method(related, *two, task="pairs")
    foods = ("soup", "rice", "salt", "water", "bread", "tea", "meat", "fish")
    unlabeled = rows(*(f"the {food} is hot / the {food} was cold and plain" for food in foods), task="pairs")
    free = method(related, *two[:2], two[3], task="pairs").predict(unlabeled)
    ours.fit({"unlabeled": unlabeled})
    cut = ours.predict(unlabeled)
    assert (cut.argmax(axis=1) == 0).sum() == 2  # a quarter of eight
    ahead = free[:, 0] - free[:, 1]
    assert set(np.flatnonzero(cut.argmax(axis=1) == 0)) == set(np.argsort(-ahead)[:2])  # the likeliest
    [alone] = ours.predict(rows("the soup is hot / the soup was cold and plain", task="pairs"))
    assert alone == pytest.approx(cut[0], abs=1e-5)  # whoever else is asked


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{text} It was {mask}.", "{text} | It was {mask}."),
        ("{mask}: {text}", "{mask}: | {text}"),
        ("{a}? {mask}, {b}", "{a}? | {mask}, {b}"),
        ("{a} | {mask}, {b}", "{a} | {mask}, {b}"),
        ("{text}。这是{mask}。", "{text}。 | 这是{mask}。"),
        ("{text}（主题：{mask}）", "{text} | （主题：{mask}）"),
    ],
)
def test_a_template_without_a_border_gets_one_before_what_the_mask_belongs_to(template: str, found: str) -> None:
    assert bordered(Template.parse(template)).source == found


def test_answers_are_remembered_by_the_size_of_their_batches(related: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which texts share a batch decides the last digits, so what is remembered must not."""
    asked: list[int] = []

    def computed(self: NspMethod, template: Template, split: Split) -> tuple[np.ndarray, int]:
        asked.append(self.config.trainer.eval_batch_size)
        return np.zeros((len(split), len(NAMES))), 0

    monkeypatch.setattr(NspMethod, "_computed", computed)
    texts = Split("test", (Example(0, {"first": "the soup", "second": "the tea"}, None),))
    context = methods.Context()
    for size in (1, 1, 2):
        given = ["task=pairs", "method=nsp", f"model.name={related}", SAME, f"trainer.eval_batch_size={size}"]
        methods.build(compose(given, str(CONF)), context).predict(texts)
    assert asked == [1, 2]  # each once for all labels


def test_a_run_is_saved_asked_and_said_again(world: World, related: Path, tmp_path: Path) -> None:
    prior = ("method.prior={tasty: 0.5}", "data.unlabeled=train")
    run = world.train(tmp_path / "run", "method=nsp", *prior)
    metrics = read(run / "metrics.json")
    assert metrics["relations"] == ["entailment", "contradiction"] and metrics["cut"] == read(run / "cut.json")["cut"]
    account = read(run / "account.json")
    assert (
        " | " in account["template"] and "[MASK]" in account["template"] and set(account["words"]) == {"tasty", "bland"}
    )
    tested, texts = read_rows(run / "predictions.jsonl"), read_rows(DATA / "meals" / "test.jsonl")
    code, said = pet("predict", str(run), "--text", texts[0]["text"])
    answer = json.loads(said)
    assert code == 0 and answer["predicted"] == tested[0]["predicted"]
    again = methods.load(run).predict(Split.passing([{"text": row["text"]} for row in texts]))
    labels = methods.load(run).labels
    assert [labels[place] for place in again.argmax(axis=1)] == [row["predicted"] for row in tested]
    code, said = pet("explain", str(run))
    assert code == 2 and "method=nsp has no prompt to explain" in said
    code, said = pet("show", "--config-dir", str(CONF), "task=meals", "method=nsp", "--text", "a cold soup")
    assert code == 2 and "method=nsp: it fills no mask" in said


def test_a_model_without_such_a_head_is_refused_in_a_line(
    world: World, family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    for given, reason in {
        "model=embedded": "model.name=embedded: the checkpoint has no trained next-sentence head",
        "model=random": "model.name=random: it has no next-sentence head",
        f"model.name={family_folder('roberta')}": "model type 'roberta' has no next-sentence head",
        f"model.name={world.model('gpt2')}": "model type 'gpt2' has no next-sentence head",
    }.items():
        code, said = world.attempt(tmp_path / "run", "method=nsp", given)
        assert code == 2 and reason in said and "mlm+nsp" in said and len(said.strip().splitlines()) <= 2, said


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("method.second=lables", "method.second=lables: not one of labels, field. Did you mean 'labels'?"),
        ("method.second=field", "label 'tasty' has none"),
        ("method.relations={tasty: entailed}", "method.relations.tasty=entailed: not one of"),
        ("method.relations={tasti: entailment}", "Did you mean 'tasty'?"),
        ("method.relations={tasty: entailment, bland: entailment}", "entailment stands for both"),
        ("method.relations={tasty: entailment, bland: neutral}", "has one field"),
        ("method.prior=0.5", "write one label and its share"),
        ("method.prior={tasty: 1.5}", "method.prior.tasty=1.5: must be above 0 and below 1"),
        ("method.prior={taste: 0.5}", "Did you mean 'tasty'?"),
        ("template={soft*3} {text} {mask}", "trains no pseudo tokens"),
        ("ensemble=patterns", "ensemble=patterns"),
    ],
)
def test_a_setting_that_cannot_be_is_told(given: str, reason: str) -> None:
    with pytest.raises(UserError) as told:
        compose(["task=meals", "method=nsp", f"data.path={DATA / 'meals'}", given], str(CONF))
    assert reason in str(told.value) and len(str(told.value).splitlines()) <= 2


def test_a_relation_that_the_model_does_not_tell_is_said(world: World) -> None:
    with pytest.raises(
        UserError, match=r"label 'unclear' is neutral, and model.name=.* tells entailment, contradiction"
    ):
        method(world.model("bert"), SAME, task="pairs")
