"""Demonstrations: what is shown with a text, token by token, in training, when asked, and from a run's folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generative import TINY
from goldens import World, read, read_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from pet_cli import methods
from pet_cli.base.memo import Memo
from pet_cli.config import registry
from pet_cli.config.build import build, option
from pet_cli.config.checks import check
from pet_cli.data.examples import Example
from pet_cli.ensembles.distillation import student_config
from pet_cli.errors import UserError
from pet_cli.models.base import LanguageModel
from pet_cli.models.loading import load
from pet_cli.prompts.context import ContextEncoder, share
from pet_cli.prompts.demonstrations import FILE, MOST, Demonstration, Demonstrations
from pet_cli.prompts.encoder import PromptEncoder
from pet_cli.prompts.template import Template
from pet_cli.runs import store
from pet_cli.tuning.base import Encoded, PromptLearner
from pet_cli.verbalizers.manual import ManualVerbalizer

pytestmark = pytest.mark.xdist_group("asking")

TEXTS = ("good soup", "the tea was warm", "cold rice", "a dull book", "fresh bread", "a plain cake with salt")
POOL = tuple(Demonstration(10 + i, {"text": text}, i // 2 % 2) for i, text in enumerate(TEXTS))
TEMPLATE = Template.parse("{text} It was {mask}.")
ROWS = [{"text": text} for text in ("an egg", "the river road was closed", "cold rice", "a day of rain")]


def of(per_label: int = 1, draws: int = 1, nearest: bool = False, seed: int = 1) -> Demonstrations:
    return Demonstrations(POOL, ("good", "bad"), per_label, draws, nearest, seed)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("demonstrations"))


@pytest.fixture(scope="module")
def lm_of(world: World) -> Callable[[str], LanguageModel]:
    return functools.cache(lambda kind: load(str(world.model(kind)), device="cpu"))


def learner_of(
    lm: LanguageModel, mode: str = "zero_shot", words: Sequence[str] = ("good", "bad"), memo: Memo | None = None
) -> PromptLearner:
    cls = registry.implementation("tuning", mode)
    verbalizer = ManualVerbalizer({word: {word: 1.0} for word in words}, option("scoring", "words"))
    how = {"labels": list(words), "settings": option("tuning", mode), "max_length": 128, "memo": memo}
    learner = cls(lm, TEMPLATE, verbalizer=verbalizer, **how)
    assert isinstance(learner, PromptLearner)
    return learner


# --- which --------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(0, 5), st.integers(1, 4), st.integers(0, 3), st.booleans(), st.booleans())
def test_a_text_is_never_its_own_demonstration_and_labels_are_shown_alike(
    place: int, per_label: int, seed: int, apart: bool, nearest: bool
) -> None:
    shown = of(per_label, nearest=nearest, seed=seed)
    like = np.linspace(1, 0, len(POOL)) if nearest else None
    chosen = shown.choose({"text": f" {TEXTS[place]}  "}, 0, apart=apart, likeness=like)
    assert place not in chosen
    labels = [POOL[one].label for one in chosen]
    rounds = min(per_label, 1)  # two texts have label 1, and what they could be shown is all that the others are
    assert len(set(chosen)) == len(chosen) == 2 * rounds
    assert all({*labels[i : i + 2]} == {0, 1} for i in range(0, len(labels), 2))


def test_draws_differ_follow_from_the_seed_and_are_shared_unless_apart() -> None:
    texts = [{"text": f"text {i}"} for i in range(30)]

    def drawn(draw: int, apart: bool, seed: int = 1) -> list[tuple[int, ...]]:
        return [of(seed=seed).choose(text, draw, apart=apart) for text in texts]

    assert len({*drawn(0, apart=False)}) == 1
    assert len({*drawn(0, apart=True)}) > 3
    assert drawn(0, apart=True) == drawn(0, apart=True)
    assert drawn(0, apart=True) != drawn(1, apart=True)
    assert drawn(0, apart=True) != drawn(0, apart=True, seed=2)


def test_what_a_training_text_is_shown_does_not_give_its_label_away() -> None:
    pool = tuple(Demonstration(i, {"text": f"text {i}"}, i % 2) for i in range(12))
    shown = Demonstrations(pool, ("good", "bad"), 1)
    drawn = [shown.choose(one.fields, 0, apart=False) for one in pool]
    for label in (0, 1):  # of the other label each text would else see the example that new texts see
        others = {
            place
            for one, own in zip(pool, drawn, strict=True)
            if one.label == label
            for place in own
            if pool[place].label != label
        }
        assert len(others) > 2
    fewer = Demonstrations(pool[:5], ("good", "bad"), 2)  # three of one label, two of the other
    assert {len(fewer.choose(one.fields, 0, apart=True)) for one in fewer.examples} == {2}
    assert len(fewer.choose({"text": "new"}, 0, apart=True)) == 4


def test_a_training_text_that_is_never_shown_has_draws_of_its_own_too(tmp_path: Path) -> None:
    texts = [{"text": f"text {i}"} for i in range(MOST + 40)]
    few = [Example(MOST + 40 + i, {"text": f"other {i}"}, 1) for i in range(4)]
    own = Demonstrations.of([*(Example(i, one, 0) for i, one in enumerate(texts)), *few], ["a", "b"], per_label=2)
    own.save(tmp_path)
    for shown in (own, Demonstrations.load(tmp_path, ["a", "b"], ["text"], per_label=2)):
        beyond = [shown.choose(one, 0, apart=False) for one in texts[MOST:]]
        new = {shown.choose({"text": f"new {i}"}, 0, apart=False) for i in range(9)}
        assert len({*beyond}) > 30 and len(new) == 1 and not new & {*beyond}


def test_the_nearest_are_of_the_half_most_like_the_text() -> None:
    like = np.array([0.1, 0.9, 0.2, 0.3, 0.8, 0.2])  # label 0: 0, 1, 4, 5; label 1: 2, 3
    found = [of(nearest=True, seed=seed).choose({"text": "x"}, 0, apart=True, likeness=like) for seed in range(20)]
    assert {place for chosen in found for place in chosen} == {1, 4, 3}


def test_likeness_is_by_the_models_own_states(lm_of: Callable[[str], LanguageModel]) -> None:
    learner = learner_of(lm_of("bert"))
    learner.show(of(nearest=True))
    assert learner.in_context is not None
    like = learner.in_context.likeness([{"text": text} for text in TEXTS])
    assert like.argmax(axis=1).tolist() == list(range(len(TEXTS)))
    assert np.allclose(np.diag(like), 1, atol=1e-5)


# --- token by token -----------------------------------------------------------------------------------------------


def shown_tokens(tokenizer: Any, template: Template, mask: str, place: Any, words: list[str]) -> list[str]:
    ids = [(tokenizer.convert_tokens_to_ids(word),) for word in words]
    context = ContextEncoder(tokenizer, template, of(), ids, 128, mask, place)
    query = PromptEncoder(tokenizer, template, 128, mask).encode([{"text": "an egg"}])[0]
    prompt = context.put(query, [2, 0])
    assert [prompt.ids[position] for position in prompt.masks] == [tokenizer.convert_tokens_to_ids(mask)]
    assert len(prompt.types) == len(prompt.ids)
    return list(tokenizer.convert_ids_to_tokens(prompt.ids))


def test_a_masked_model_reads_them_behind_the_query(lm_of: Callable[[str], LanguageModel]) -> None:
    tokens = shown_tokens(lm_of("bert").tokenizer, TEMPLATE, "[MASK]", "behind", ["good", "bad"])
    shown = "[CLS] an egg it was [MASK] . [SEP] cold rice it was bad . [SEP] good soup it was good . [SEP]"
    assert tokens == shown.split()


def test_t5_reads_them_as_one_text_and_a_decoder_before_the_query_line_by_line(
    lm_of: Callable[[str], LanguageModel],
) -> None:
    t5 = lm_of("t5")
    tokens = shown_tokens(t5.tokenizer, t5.adapt_answered(TEMPLATE), "<extra_id_0>", "inside", ["good", "bad"])
    shown = "an egg it was <extra_id_0> . cold rice it was bad . good soup it was good . <eos>"
    assert tokens == shown.split()
    llama = PreTrainedTokenizerFast(tokenizer_object=TINY["llama"].tokenizer(), bos_token="<s>", eos_token="</s>")
    closed = Template.parse("{text} It was{mask}.")
    found = "".join(shown_tokens(llama, closed, "</s>", "before", ["Ġgood", "Ġbad"]))
    assert found == "<s>coldĠriceĠItĠwasĠbad.ĊgoodĠsoupĠItĠwasĠgood.ĊanĠeggĠItĠwas</s>."


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 30), min_size=6, max_size=6),
    st.integers(0, 60),
    st.integers(1, 3),
    st.integers(40, 90),
    st.sampled_from(["behind", "inside", "before"]),
)
def test_a_prompt_is_never_too_long_and_its_query_never_cut_for_a_demonstration(
    world: World, lengths: list[int], length: int, per_label: int, most: int, place: Any
) -> None:
    tokenizer = _tokenizer(world)
    pool = tuple(Demonstration(i, {"text": "a " * n + "day"}, i % 2) for i, n in enumerate(lengths))
    shown = Demonstrations(pool, ("good", "bad"), per_label)
    words = [(tokenizer.convert_tokens_to_ids(word),) for word in ("good", "bad")]
    query = PromptEncoder(tokenizer, TEMPLATE, most).encode([{"text": "it " * length}])[0]
    try:
        context = ContextEncoder(tokenizer, TEMPLATE, shown, words, most, "[MASK]", place)
    except UserError as error:
        assert "longer than the model" in str(error)
        assert 2 * per_label * (5 if place == "behind" else 4) > most // 2  # "It was WORD . [SEP]" without a text
        return
    prompt = context.put(query, range(2 * per_label))
    assert len(prompt.ids) <= most
    kept = 2 * per_label - prompt.lacks
    own = len(prompt.ids) - len(query.ids)
    at = {"behind": len(query.ids), "inside": len(query.ids) - 1, "before": 1}[place]
    assert [*prompt.ids[:at], *prompt.ids[at + own :]] == query.ids
    assert prompt.cut == query.cut and [prompt.ids[i] for i in prompt.masks] == [tokenizer.mask_token_id]
    assert kept % 2 == 0 and own <= most // 2
    assert prompt.context == (1 + own if place == "before" and own else 0)


@functools.cache
def _tokenizer(world: World) -> Any:
    return load(str(world.model("bert")), device="cpu").tokenizer


def test_the_longest_are_cut_to_an_equal_share() -> None:
    assert share([5, 20, 30], 41) == 18  # 5 + 18 + 18
    assert share([5, 6], 40) == 6
    assert share([5, 6], 1) == 0


# --- what a model says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("good", "bad"), ("good", "superb")])
def test_a_context_read_once_says_what_each_prompt_read_whole_says(
    lm_of: Callable[[str], LanguageModel], words: tuple[str, str]
) -> None:
    lm = lm_of("gpt2")
    learner = learner_of(lm, words=words)
    learner.show(of(2, draws=2))
    encoded = learner.encode(ROWS)
    assert all(prompt.context > 10 for prompt in encoded.prompts)
    seen: list[int] = []
    hook = lm.model.get_input_embeddings().register_forward_hook(lambda _, given, __: seen.append(given[0].numel()))
    once = learner.predict(learner.encode(ROWS))
    read_once = sum(seen)
    seen.clear()
    whole = [replace(prompt, context=0) for prompt in encoded.prompts]
    plain = replace(encoded, prompts=whole, states=None)
    told = learner.predict(plain)
    hook.remove()
    assert torch.allclose(once, told, atol=1e-5)
    assert read_once < 0.6 * sum(seen)
    assert not torch.allclose(told[0], told[1], atol=1e-3)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_what_is_remembered_of_one_verbalizer_is_not_shown_by_another(
    lm_of: Callable[[str], LanguageModel], kind: str
) -> None:
    memo = Memo()
    answered = []
    for words in (("good", "bad"), ("great", "awful"), ("great", "awful")):
        if len(answered) == 2:
            memo = Memo()
        learner = learner_of(lm_of(kind), words=words, memo=memo)
        learner.show(of())
        answered.append(learner.predict(learner.encode(ROWS, "rows")))
    assert torch.equal(answered[1], answered[2])


def test_scores_are_the_mean_over_draws(lm_of: Callable[[str], LanguageModel]) -> None:
    learner = learner_of(lm_of("bert"))
    learner.show(of(draws=3))
    encoded = learner.encode(ROWS)
    assert (len(encoded), encoded.examples) == (12, 4)
    single = [learner.predict(Encoded(encoded.prompts[i : i + 4])) for i in (0, 4, 8)]
    assert not torch.allclose(single[0], single[1], atol=1e-3)
    assert torch.allclose(learner.predict(encoded), torch.stack(single).mean(dim=0), atol=1e-5)
    part = encoded.part([1, 3])
    assert torch.allclose(learner.predict(part), learner.predict(encoded)[[1, 3]], atol=1e-5)


def test_draws_do_not_count_as_examples_where_a_pull_fades_with_them(lm_of: Callable[[str], LanguageModel]) -> None:
    learner = learner_of(lm_of("bert"), "head")
    with torch.no_grad():
        for parameter in learner.transform.parameters():  # type: ignore[union-attr, operator]
            parameter.add_(0.1)
    once = learner.encode(ROWS)
    assert once.states is not None
    twice = Encoded(once.prompts * 2, torch.cat([once.states] * 2), draws=2)
    gold = torch.tensor([0, 1])
    assert torch.equal(learner.loss(once, [0, 1], gold), learner.loss(twice, [0, 1], gold))


# --- runs ---------------------------------------------------------------------------------------------------------

SHOWN = ("demonstrations.per_label=1", "demonstrations.draws=2")


@pytest.mark.parametrize(
    ("overrides", "model"),
    [
        (("tuning=full", "demonstrations.choose=nearest"), "bert"),
        (("tuning=zero_shot",), "gpt2"),
    ],
)
def test_a_runs_folder_answers_as_the_run_did(
    world: World, tmp_path: Path, overrides: tuple[str, ...], model: str
) -> None:
    folder = world.train(tmp_path / "run", *SHOWN, *overrides, "baseline=true", model=model)
    assert read(folder / "account.json")["marks"]["zero_shot"] is not None  # the same prompt without them
    shown = read(folder / FILE)["examples"]
    assert [one["row"] for one in shown] == read(folder / "sample.json")["train"]
    method = methods.load(folder)
    texts = methods.Context().session.splits(method.config)["test"]
    told = store.softmax(method.predict(replace(texts, kept=False)))
    rows = read_rows(folder / "predictions.jsonl")
    assert [row["probabilities"] for row in rows] == [
        {label: float(f"{p:.6g}") for label, p in zip(method.labels, line, strict=True)} for line in told
    ]
    (folder / FILE).unlink()
    with pytest.raises(UserError, match=FILE):
        methods.load(folder)


def test_fields_may_be_called_as_the_file_calls_its_own(tmp_path: Path) -> None:
    own = Demonstrations((Demonstration(3, {"label": "good soup", "row": "a"}, 1),), ("x", "y"), 1)
    own.save(tmp_path)
    assert Demonstrations.load(tmp_path, ["x", "y"], ["label", "row"], per_label=1) == own
    (tmp_path / FILE).write_text('{"seed": 0, "examples": [{"row": 3, "label": "y", "text": "good soup"}]}')
    assert Demonstrations.load(tmp_path, ["x", "y"], ["text"], per_label=1).examples[0].fields == {"text": "good soup"}


def test_a_sample_with_too_few_of_a_label_is_refused() -> None:
    sample = [Example(0, {"text": "a"}, 0), Example(1, {"text": "b"}, 0), Example(2, {"text": "c"}, 1)]
    with pytest.raises(UserError, match="label 'bad' has 1 training examples"):
        Demonstrations.of(sample, ["good", "bad"], per_label=2)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"method": "tfidf"}, "method=tfidf reads no prompt"),
        ({"tuning": "classifier"}, "tuning=classifier has no prompt"),
        ({"task": "stsb"}, "only for task.target=label, not number"),
        ({"ensemble": "patterns_shared"}, "ensemble.models=separate"),
        ({"data.shots": 0, "tuning": "zero_shot"}, "data.shots of at least 1, or null; it is 0"),
        ({"data.shots": 1}, "at least 2, or null, since a text never demonstrates itself; it is 1"),
    ],
)
def test_what_cannot_show_any_is_refused(given_: dict[str, Any], said: str) -> None:
    options = {key: value for key, value in given_.items() if "." not in key}
    keys = {key: value for key, value in given_.items() if "." in key}
    with pytest.raises(UserError, match=said):
        check(build(options, {"demonstrations.per_label": 1, **keys}))


def test_pets_student_is_shown_none() -> None:
    config = build({"ensemble": "pet", "task": "sst2"}, {"demonstrations.per_label": 1})
    check(config)
    assert student_config(config).demonstrations.per_label == 0
