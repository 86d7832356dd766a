"""Searches for label words: the candidates, what each method finds by hand, and what it lacks."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from families import WORDS
from goldens import CONF, Searched, World, contents, read, read_rows, vocabulary
from torch import Tensor

from pet_cli.base.memo import Memo
from pet_cli.config.build import build, option
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Example, Split
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.encoder import word_ids
from pet_cli.runs.session import Session
from pet_cli.search.base import Looked
from pet_cli.search.bench import Bench
from pet_cli.search.kpt import frequent, relevance
from pet_cli.search.label_words import mean_log_probabilities, owned
from pet_cli.search.npprompt import names_in
from pet_cli.search.petal import Petal, likelihood_ratios
from pet_cli.search.run import search
from pet_cli.search.vocabulary import of_model, of_words
from pet_cli.verbalizers.words import read_words

BY = ("petal", "amulap", "npprompt", "kpt")
FOODS = (
    "soup",
    "rice",
    "water",
    "bread",
    "tea",
    "meat",
    "fish",
    "cold",
    "hot",
    "warm",
    "sweet",
    "fresh",
    "dry",
    "plain",
)
"""Words that are one token of the tiny models."""


def logs(*rows: Sequence[float]) -> Tensor:
    return torch.tensor(rows).log()


# --- candidates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [True, False])
def test_candidates_are_whole_words_where_the_mask_stands(lm: MaskedLM, space: bool) -> None:
    found = of_model(lm.tokenizer, space)
    assert set(WORDS) <= set(found.words) and all(word.isalpha() and len(word) > 1 for word in found.words)
    assert len(set(found.ids)) == len(found.words) == len(set(found.words))
    assert all(
        word_ids(lm.tokenizer, word, space) == [token] for word, token in zip(found.words, found.ids, strict=True)
    )
    assert f"{len(found)} of the vocabulary's {len(lm.tokenizer)}" in found.note


def test_of_a_file_those_that_are_one_token_are_left(model_of: Callable[[str], MaskedLM]) -> None:
    found = of_words(model_of("roberta").tokenizer, True, ["good", "unheardof", "<mask>", "bad"])
    assert found.words == ("good", "bad")
    assert "2 of the 4 words" in found.note and "left out: unheardof, <mask>" in found.note
    lower = of_words(model_of("bert").tokenizer, True, ["good", "Good"])  # the same token
    assert lower.words == ("good",) and "left out: Good" in lower.note
    assert not of_words(model_of("bert").tokenizer, True, ["good"]).note


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ("search.words=", "no such file")),
        ("\n \n", ("search.words=", "empty")),
        ("good\n\nbad\n good\n", ("words.txt, row 4", "'good'", "row 1")),
        ("good\n\xff", ("search.words=", "UTF-8")),
    ],
)
def test_a_file_of_words_that_cannot_be_used_is_named_with_its_row(
    text: str | None, words: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "words.txt"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError) as error:
        read_words(path, "search.words")
    assert all(word in str(error.value) for word in words) and str(path) in str(error.value)


def test_a_word_stands_for_the_label_alone_for_which_it_is_worth_most() -> None:
    none = -math.inf
    assert owned(torch.tensor([[3.0, 1.0, none, 2.0, none], [4.0, 0.5, none, none, 5.0]])) == [[3, 1], [4, 0]]


# --- whole searches -----------------------------------------------------------------------------------------------


_MODELS = Memo(4)


class Shared(Session):
    """A session whose models are those of all searches here."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._models = _MODELS


@functools.cache
def configured(model: Path, settings: str) -> PetConfig:
    """A run on the meals, by its model and other keys in JSON."""
    keys = {"model.name": str(model), "data.path": ".", "data.shots": 4, "device": "cpu"}
    return build({"task": "meals", "tuning": "zero_shot"}, keys | json.loads(settings), str(CONF))


@pytest.fixture
def find(world: World, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """A search for label words on the meals with a tiny model, by keys of its own (`by`, `sizes`, …) and of the run."""
    monkeypatch.setattr("pet_cli.search.run.Session", Shared)

    def run(by: str, folder: str = "found", settings: dict[str, Any] | None = None, **own: Any) -> Bench:
        config = configured(world.model((settings or {}).pop("model", "bert")), json.dumps(settings or {}))
        config = replace(config, data=replace(config.data, path=str(data)))
        return search("verbalizer", config, option("search", by, **own), tmp_path / folder)

    return run


def words_of(bench: Bench) -> set[str]:
    """All words of the verbalizers that were found."""
    return {word for one in bench.found for words in dict(one.candidate.written).values() for word in words}  # type: ignore


@pytest.mark.parametrize("by", BY)
def test_words_are_found_without_what_a_run_scores(
    by: str, find: Callable[..., Bench], data: Path, tmp_path: Path
) -> None:
    find(by, "as it is", sizes=[1])
    flipped = {"tasty": "bland", "bland": "tasty"}
    rows = [{**row, "label": flipped[row["label"]]} for row in read_rows(data / "test.jsonl")]
    (data / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench = find(by, "poisoned", sizes=[1])
    assert contents(tmp_path / "poisoned") == contents(tmp_path / "as it is")
    for one in bench.names().values():
        tasty, bland = dict(one.candidate.written).values()  # type: ignore[arg-type]
        assert tasty and bland and not set(tasty) & set(bland)
    assert any("vocabulary" in note for note in read(tmp_path / "as it is" / "looked.json")["notes"])


def test_a_model_that_writes_is_searched_too(find: Callable[..., Bench]) -> None:
    settings = {"model": "gpt2", "scoring.combine": "weighted"}
    bench = find("kpt", settings=settings, sizes=[2], names="verbalizer", rare=0.0)
    assert not any(one.refused for one in bench.found) and len(words_of(bench)) >= 2


def test_a_task_without_words_of_its_own_is_searched_for_some(searched: Searched, tmp_path: Path) -> None:
    own = tmp_path / "conf" / "task"
    own.mkdir(parents=True)
    text = (CONF / "task" / "meals.yaml").read_text().partition("verbalizers:")[0]
    (own / "foods.yaml").write_text(text)
    words = tmp_path / "words.txt"
    words.write_text("\n".join([*FOODS, "unheardof"]))
    given = ("task=foods", f"search.words={words}", "search.by=petal", "tuning=zero_shot", "search.sizes=[1,99]")
    code, said = searched("verbalizer", tmp_path / "found", *given, conf=tmp_path / "conf")
    assert code == 0 and "14 of the 15 words" in said and "left out: unheardof" in said and "verbalizer=f0" in said
    found = yaml.safe_load((tmp_path / "found" / "found.yaml").read_text())["verbalizers"]
    assert {word for one in found for own in one.values() for word in own} == set(FOODS)
    words.write_text("\n".join(FOODS))  # the same command, but another file
    assert "another search" in searched("verbalizer", tmp_path / "found", *given, conf=tmp_path / "conf")[1]


@pytest.mark.parametrize(
    ("by", "given", "own", "words"),
    [
        ("petal", {"data.shots": 0}, {}, ("search=petal", "data.shots")),
        ("amulap", {"data.shots": 0}, {}, ("search=amulap", "data.shots")),
        ("petal", {}, {"sizes": [0]}, ("search.sizes=[0]", "from 1")),
        ("petal", {}, {"sizes": ["a"]}, ("must be a list of whole numbers",)),
        ("petal", {}, {"words": "none.txt"}, ("search.words=none.txt", "no such file")),
        ("petal", {}, {"words": "FILE"}, ("search.words=", ": 1, too", "2 labels")),
        ("petal", {}, {"likely": 1, "common": 1}, ("no candidate word", "search.words")),
        (
            "npprompt",
            {"task.labels": ["good", "5"], "data.labels": {"tasty": "good", "bland": "5"}},
            {},
            ("search=npprompt", "'5' is no word", "search.names=verbalizer"),
        ),
    ],
)
def test_a_search_for_words_says_what_it_lacks(
    by: str,
    given: dict[str, Any],
    own: dict[str, Any],
    words: tuple[str, ...],
    find: Callable[..., Bench],
    tmp_path: Path,
) -> None:
    (tmp_path / "one.txt").write_text("good\nunheardof\n")
    own = {key: str(tmp_path / "one.txt") if value == "FILE" else value for key, value in own.items()}
    with pytest.raises(UserError) as error:
        find(by, settings=given, **own)
    assert all(word in str(error.value) for word in words), error.value


# --- PETAL --------------------------------------------------------------------------------------------------------


def test_likelihood_ratios_by_hand() -> None:
    log_p = logs([0.5, 0.2], [0.25, 0.2], [0.1, 0.2])
    shares = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    odds = [0.0, math.log(0.25 / 0.75), math.log(0.1 / 0.9)]
    first, second = 2 * odds[0] - odds[1] - odds[2], 0.5 * (odds[1] + odds[2]) - odds[0]
    told = likelihood_ratios(log_p, shares, 2)
    assert told[:, 0].tolist() == pytest.approx([first, second])
    assert told[:, 1].tolist() == pytest.approx([0, 0], abs=1e-6)  # as likely on all texts
    likeliest = likelihood_ratios(log_p, shares, 1)
    assert likeliest.isneginf().tolist() == [[False, True], [True, False]]
    none = likelihood_ratios(torch.tensor([[-math.inf, -1.0]] * 3), shares, 2)
    assert none.isneginf().tolist() == [[True, False]] * 2


def test_candidates_of_petal_are_the_commonest_of_unlabeled_texts(find: Callable[..., Bench], data: Path) -> None:
    texts = [" ".join(FOODS), ", ".join(FOODS), "train shop house"]
    (data / "unlabeled.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    bench = find("petal", common=len(FOODS), sizes=[99])
    assert words_of(bench) == set(FOODS) and f"{len(FOODS)} of them are the commonest in 3 unlabeled" in bench.notes[1]


def test_petal_counts_words_as_texts_spell_them_whatever_stands_before_the_mask(
    model_of: Callable[[str], MaskedLM],
) -> None:
    lm = model_of("roberta")
    own = type("Own", (Petal,), {"lm": lm, "space": " "})
    petal = own.__new__(own)
    petal.__dict__["vocabulary"] = of_words(lm.tokenizer, False, ["good", "bad", "great"])
    petal.settings = option("search", "petal", common=2)
    texts = tuple(Example(0, {"text": text}, None) for text in ("a good plot", "good and bad", "(great)"))
    petal.looked = Looked(Split("train", ()), Split("unlabeled", texts))
    petal.bench = SimpleNamespace(context=Context(Session()), notes=[], drawn=lambda split, most: split)  # type: ignore
    assert petal.common().tolist() == [True, True, False]


# --- weights ------------------------------------------------------------------------------------------------------


def test_words_divided_by_their_priors_count_alike_on_what_the_priors_were_told_from(
    find: Callable[..., Bench],
) -> None:
    bench = find("amulap", settings={"scoring.combine": "sum"}, sizes=[1, 3])
    assert [one.candidate.origin.partition(", ")[2] for one in bench.found] == [
        *("1 of each label", "1 of each label, divided by priors"),
        *("3 of each label", "3 of each label, divided by priors"),
    ]
    equal, weighted = bench.found[2:]
    assert {label: list(own) for label, own in dict(weighted.candidate.written).items()} == equal.candidate.written  # type: ignore
    learner = bench.learner(weighted.candidate)
    lm, split = learner.lm, bench.looked.train
    with torch.inference_mode():
        states = learner.encode(split.rows, split.fingerprint).states
        assert states is not None
        p = lm.word_scores(states[:, 0], None).softmax(-1)
    for own in dict(weighted.candidate.written).values():  # type: ignore[arg-type]
        parts = [weight * p[:, lm.tokenizer.convert_tokens_to_ids(word)].mean().item() for word, weight in own.items()]
        assert parts == pytest.approx([parts[0]] * 3, rel=1e-3)


# --- AMuLaP and NPPrompt ------------------------------------------------------------------------------------------


def test_a_words_probability_is_its_mean_over_the_labels_examples() -> None:
    shares = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    told = mean_log_probabilities(logs([0.5, 0.1], [0.25, 0.1], [0.1, 0.4]), shares)
    first = (0.5 + 0.25 + 0.5 * 0.1) / 2.5, (0.1 + 0.1 + 0.5 * 0.4) / 2.5
    assert told.exp().tolist() == pytest.approx([pytest.approx(first), pytest.approx((0.1, 0.4))])


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("negative", ["negative"]),
        ("not_entailment", ["not entailment"]),
        ("Sci/Tech", ["Sci", "Tech"]),
        ("food or drink, and land", ["food", "drink", "land"]),
        ("5", []),
        ("1 star", ["1 star"]),
    ],
)
def test_the_names_in_a_label(label: str, names: list[str]) -> None:
    assert names_in(label) == names


def test_words_near_to_a_name_come_first_and_need_no_example(find: Callable[..., Bench], tmp_path: Path) -> None:
    settings = {"data.shots": 0, "verbalizer": {"tasty": ["good", "hot soup"], "bland": "bad"}}
    bench = find("npprompt", settings=settings, names="verbalizer", sizes=[3])
    lm = bench.context.session.language_model(bench.config)
    table, vocabulary = lm.model.bert.embeddings.word_embeddings.weight.detach(), lm.tokenizer.get_vocab()
    names = [["good"], ["hot", "soup"]], [["bad"]]
    centres = [[table[[vocabulary[word] for word in name]].mean(0) for name in own] for own in names]
    whole = [word for word in vocabulary if word.isalpha() and len(word) > 1]
    near = {
        word: [max(torch.cosine_similarity(table[vocabulary[word]], one, 0).item() for one in own) for own in centres]
        for word in whole
    }
    [one] = bench.found
    for label, (own, other) in enumerate([(0, 1), (1, 0)]):
        mine = sorted((word for word in whole if near[word][own] > near[word][other]), key=lambda w: -near[w][own])
        assert list(dict(one.candidate.written).values())[label] == mine[:3]  # type: ignore[arg-type]
    assert not one.scores and one.information > 0


def test_a_name_that_the_vocabulary_lacks_has_no_neighbours(find: Callable[..., Bench]) -> None:
    with pytest.raises(UserError, match="'tasty' is no word of this model"):
        find("npprompt", settings={"verbalizer": {"tasty": "好", "bland": "bad"}}, names="verbalizer")


# --- KPT ----------------------------------------------------------------------------------------------------------


def test_relevance_by_hand() -> None:
    names = torch.tensor([[0.6, 0.0], [0.8, 0.5]])  # lengths 1 and 0.5
    told = relevance(torch.tensor([[0.3, 0.0, 0.1], [0.4, 0.2, 0.1]]), names)
    half = 1.4 / 2**0.5  # the cosine of a word that is equally likely in both texts with the first name
    assert told.tolist() == [
        pytest.approx([1 / 0.8, 0.8, half * 2**0.5]),
        pytest.approx([0.8, 1 / 0.8, 1 / (half * 2**0.5)]),
    ]
    three = relevance(torch.tensor([[0.3], [0.4]]), torch.cat([names, torch.tensor([[0.5], [0.0]])], dim=1))
    assert three[0].item() == pytest.approx(1 / ((0.8 + 0.6) / 2))  # to the mean of the others


def test_what_is_rare_among_the_listed_is_left_out() -> None:
    probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.0], [0.1, 0.2, 0.3, 0.4, 0.0]])
    listed = torch.tensor([True, True, True, True, False])
    assert frequent(probabilities, listed, 0.5).tolist() == [False, False, True, True, False]
    assert frequent(probabilities, listed, 0.0).tolist() == [True, True, True, True, False]


def test_kpt_keeps_of_a_set_what_is_relevant_to_one_label(find: Callable[..., Bench], tmp_path: Path) -> None:
    whole = [word for word in vocabulary() if word.isalpha() and len(word) > 1][:40]
    (tmp_path / "words.txt").write_text("\n".join(whole))
    own: dict[str, Any] = {"names": "verbalizer", "rare": 0.25, "support": 9, "sizes": [99]}
    bench = find("kpt", words=str(tmp_path / "words.txt"), settings={"data.shots": 0}, **own)
    told = re.search(r"40 words made up .*; (\d+) of them are frequent over 9 texts, and (\d+)", " ".join(bench.notes))
    assert told and int(told[1]) == 30 and int(told[2]) == len(words_of(bench)) and words_of(bench) <= set(whole)
    near = find("kpt", "near", neighbours=5, rare=0.0, names="verbalizer", sizes=[99])
    nearest = find("npprompt", "nearest", names="verbalizer", sizes=[5])
    for kept, whole in zip(*(dict(one.found[0].candidate.written).items() for one in (near, nearest)), strict=True):  # type: ignore
        assert kept[0] == whole[0] and set(kept[1]) <= set(whole[1])  # each for the label whose name it is near to
