"""Searches that let another model write templates: what it reads, what it writes, and what is made of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from generative import TEXTS
from generative import build as build_generative
from goldens import CONF, DATA, World, contents, read_rows

from pet_cli.commands.search import _settings
from pet_cli.config.build import build, option
from pet_cli.config.search import generator_model
from pet_cli.data.examples import Example, Split
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.models.encoder_decoder import T5LM
from pet_cli.models.generative import ROOM
from pet_cli.models.loading import load
from pet_cli.prompts.encoder import PromptEncoder, word_ids
from pet_cli.prompts.template import Template
from pet_cli.runs.session import Session
from pet_cli.search import phrases
from pet_cli.search.base import Candidate, Looked
from pet_cli.search.bench import Bench
from pet_cli.search.generator import continuation, load_generator, longest_input, shared_out, writable
from pet_cli.search.joint import Joint, likely_spans
from pet_cli.search.lm import Lm
from pet_cli.search.lmbff_templates import LmbffTemplates
from pet_cli.search.lmbff_words import assignments
from pet_cli.search.paraphrase import Paraphrase
from pet_cli.search.run import search as run_search

ROWS = [{"text": text} for text in TEXTS]
GROUPS = [0, 1, 1, 0]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model that writes, by its name in `generative.TINY`."""
    return cache(lambda name: build_generative(name, tmp_path_factory.mktemp(name) / "model"))


@pytest.fixture(scope="module")
def model(generator: Callable[[str], Path]) -> Callable[[str], Any]:
    """A tiny model that writes, loaded."""
    return cache(lambda name: load(str(generator(name)), device="cpu"))


def joint_of(lm: Any, width: int = 8) -> Joint:
    template = lm.adapt(Template.parse("{text} {mask}"))
    return Joint(lm, PromptEncoder(lm.tokenizer, template, 100, lm.mask_token).encode(ROWS), GROUPS, width)


def following(lm: Any, text: str, written: list[int]) -> torch.Tensor:
    """Log-probabilities behind a text and what was written, by transformers, of one text without padding."""
    with torch.inference_mode():
        if lm.family == "decoder_only":
            ids = [*lm.tokenizer(text)["input_ids"], *written]
            return lm.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        ids = lm.tokenizer(f"{text}{lm.mask_token}")["input_ids"]
        given = torch.tensor([[lm.model.config.decoder_start_token_id, lm.sentinels(1)[0], *written]])
        return lm.model(input_ids=torch.tensor([ids]), decoder_input_ids=given).logits[0, -1].log_softmax(-1)


@pytest.mark.parametrize("name", ["t5", "gpt2", "llama"])
def test_sequences_grow_as_if_each_were_read_anew(name: str, model: Callable[[str], Any]) -> None:
    lm = model(name)
    joint = joint_of(lm, width=512)  # two inputs in a batch
    joint.grow([0, 0, 0], [20, 21, 22])
    joint.grow([2, 0, 2, 1], [23, 24, 25, 26])
    found = joint.log_probabilities()
    for place, written in enumerate(([22, 23], [20, 24], [22, 25], [21, 26])):
        for label in (0, 1):
            texts = [text for text, own in zip(TEXTS, GROUPS, strict=True) if own == label]
            expected = sum(following(lm, text, written) for text in texts)
            assert torch.allclose(found[label, place], expected, atol=1e-3)  # type: ignore[arg-type]


def test_the_likeliest_spans_are_those_of_all_inputs_together(model: Callable[[str], Any]) -> None:
    lm = model("t5")
    size = joint_of(lm).log_probabilities().shape[-1]
    allowed = writable(lm.tokenizer, size)
    some = allowed & (torch.arange(size) % 9 == 0)
    one, two = lm.sentinels(3)[1:]
    found = likely_spans(joint_of(lm), [one, two], some, 60, 1, lambda: True)
    tokens = some.nonzero().flatten().tolist()
    assert len(found) == 1 + 2 * len(tokens) <= 60  # nothing, or one token in one of both spans
    for spans in found[:: len(found) // 4]:
        (left, right) = spans.spans
        written, score = [*left, one, *right, two], 0.0
        for place, token in enumerate(written):
            score += sum(float(following(lm, text, written[:place])[token]) for text in TEXTS)
        assert spans.score == pytest.approx(score, abs=1e-2)
    assert [spans.score for spans in found] == sorted((spans.score for spans in found), reverse=True)
    best = likely_spans(joint_of(lm), [one, two], some, 5, 1, lambda: True)
    exact = {spans.spans: spans.score for spans in found}
    assert len(best) == 5 and all(spans.score == pytest.approx(exact[spans.spans], abs=1e-2) for spans in best)
    assert likely_spans(joint_of(lm), [one, two], some, 5, 1, lambda: False) == []


@pytest.mark.parametrize("name", ["t5", "mt5", "llama"])
def test_what_may_be_written_is_plain_text(name: str, model: Callable[[str], Any]) -> None:
    tokenizer = model(name).tokenizer
    allowed = writable(tokenizer, len(tokenizer) + 7).nonzero().flatten().tolist()
    for token in allowed:
        text = tokenizer.decode([token])
        assert token not in tokenizer.all_special_ids and "<extra" not in text and text.strip()
        assert not set(text) & set("{}|\n\t"), text
    assert len(allowed) > 50
    ids = tokenizer("the film was good", add_special_tokens=False)["input_ids"]
    assert continuation(tokenizer, ids[-2:]).endswith("good")


@pytest.fixture(scope="module")
def search(world: World, generator: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """LM-BFF's search for templates on the meals or the pairs."""

    def made(task: str, **changes: Any) -> LmbffTemplates:
        settings = {"model.name": str(world.model("bert")), "data.path": str(DATA / task), "data.shots": 2}
        config = build({"task": task, "tuning": "zero_shot"}, {**settings, "device": "cpu"}, str(CONF))
        session = Session(reuse=True)
        looked = Looked(session.to_search(config)["train"], Split("unlabeled", ()))
        own = option("search", "lmbff", generator=str(generator("t5")), **{"minutes": None, **changes})
        bench = Bench(config, own, looked, Context(session), tmp_path_factory.mktemp("search"))
        return LmbffTemplates("template", config, own, looked, bench)

    return made


def test_the_generator_reads_each_text_with_its_own_labels_word(search: Any, model: Callable[[str], Any]) -> None:
    lm = model("t5")
    for task, name in (("meals", "behind"), ("meals", "before"), ("pairs", "between")):
        own = search(task)
        before, behind = {place: texts for place, *texts in own.layouts()}[name]
        train = own.looked.train
        prompts = own._prompts(lm, before, behind, shared_out(own.config, train, None))
        read = {tuple(prompt.ids) for prompt in prompts}
        expected = set()
        for example in train.examples:
            word = next(iter(list(own.words.values())[example.gold]))
            texts = list(example.fields.values())
            first, *rest = texts if task == "meals" else [texts[0].rstrip("."), texts[1][:1].lower() + texts[1][1:]]
            line = f"<extra_id_0> {word}<extra_id_1> {first}"
            if name != "before":
                line = " ".join([f"{first}<extra_id_0> {word}<extra_id_1>", *rest])
            expected.add(tuple(lm.tokenizer(line)["input_ids"]))
        assert read == expected and len(prompts) == len(train)


def test_templates_of_what_was_written(search: Any, model: Callable[[str], Any]) -> None:
    lm = model("t5")

    def tokens(text: str) -> list[int]:
        return lm.tokenizer(f"a{text}", add_special_tokens=False)["input_ids"][1:]  # type: ignore[no-any-return]

    own = search("meals")
    for before, behind, left, right, expected in (
        ("{text}", "", " It was", ".", "{text} It was {mask}."),
        ("{text}", "", ". a (", ")", "{text}. a ({mask})"),
        ("{text}", "", "", "", "{text} {mask}"),
        ("", "{text}", " a", " film:", "a {mask} film: {text}"),
        ("", "{text}", "", ":", "{mask}: {text}"),
        ("{first:strip}", "{second:lower}", ".", ", it was", "{first:strip}. {mask}, it was {second:lower}"),
    ):
        assert own.template(lm, before, behind, tokens(left), tokens(right)) == expected


def test_examples_are_shared_out_evenly(search: Any) -> None:
    own = search("meals")
    gold = own.looked.train.gold
    assert [gold[place] for place, _ in shared_out(own.config, own.looked.train, 2)] == [0, 1]
    both = shared_out(own.config, own.looked.train, None)
    assert len(both) == 4 and all(gold[place] == label for place, label in both)


@pytest.mark.parametrize("labels", [2, 3])
def test_assignments_answer_the_examples_best(labels: int) -> None:
    generator = torch.Generator().manual_seed(labels)
    log_p = torch.randn(8, 7, generator=generator).log_softmax(-1)
    gold = [place % labels for place in range(8)]
    shares = torch.eye(labels)[gold]
    own = [[0, 1, 2, 3], [2, 3, 4], [4, 5, 6, 0]][:labels]
    ranked = []
    for words in product(*own):
        scores = log_p[:, words]
        right = sum(int(row.argmax()) == label for row, label in zip(scores, gold, strict=True))
        loss = -sum(float(row.log_softmax(-1)[label]) for row, label in zip(scores, gold, strict=True))
        if len(set(words)) == labels:
            ranked.append((-right, loss, words))
    assert assignments(log_p, shares, own, 999, 5) == [words for *_, words in sorted(ranked)[:5]]
    few = assignments(log_p, shares, own, 2, 999)
    assert len(few) <= 2 * 4 and all(len(set(words)) == labels for words in few)


def settings_of(kind: str, generator: Callable[[str], Path]) -> Any:
    own: dict[str, Any] = {"minutes": None, "candidates": 6}
    if kind in ("lmbff", "lm"):
        own |= {"generator": str(generator("t5" if kind == "lmbff" else "llama")), "width": 4, "longest": 2}
    return option("search", kind, **own)


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("template", "lmbff"),
        ("verbalizer", "lmbff"),
        pytest.param("template", "lm", marks=pytest.mark.slow),
        pytest.param("template", "paraphrase", marks=pytest.mark.slow),
    ],
)
def test_what_is_found_follows_from_the_sample_alone(
    what: str, kind: str, world: World, generator: Callable[[str], Path], data: Path, tmp_path: Path
) -> None:
    settings = {"model.name": str(world.model("bert")), "data.path": str(data), "data.shots": 2, "device": "cpu"}
    config = build({"task": "meals", "tuning": "zero_shot"}, settings, str(CONF))
    run_search(what, config, settings_of(kind, generator), tmp_path / "as it is")
    (data / "test.jsonl").write_text("no json at all")  # whoever opened it would say so
    run_search(what, config, settings_of(kind, generator), tmp_path / "poisoned")
    assert contents(tmp_path / "poisoned") == contents(tmp_path / "as it is")
    found = [row for row in read_rows(tmp_path / "as it is" / "candidates.jsonl") if not row["hand_written"]]
    assert found and ("behind" in str(found)) == ((what, kind) == ("template", "lmbff"))


def test_a_decoder_only_model_writes_in_front_of_the_label_words(
    search: Any, model: Callable[[str], Any], generator: Callable[[str], Path]
) -> None:
    lm, own = model("llama"), search("meals")
    own = Lm("template", own.config, settings_of("lm", generator), own.looked, own.bench)
    read = shared_out(own.config, own.looked.train, None)
    found = own.sequences(lm, "{text}", read)
    assert [len(one.tokens) for one in found] == [0] + [1] * 4 + [2] * 4
    first = [word_ids(lm.tokenizer, next(iter(words)))[0] for words in own.words.values()]
    for one in (found[0], found[-1]):
        score = word = 0.0
        for place, label in read:
            text = own.looked.train.rows[place]["text"]
            for index, token in enumerate(one.tokens):
                score += float(following(lm, text, list(one.tokens[:index]))[token])
            word += float(following(lm, text, list(one.tokens))[first[label]])
        assert one.own == pytest.approx(score, abs=1e-2) and one.word == pytest.approx(word, abs=1e-2)
    own.config = replace(own.config, task=replace(own.config.task, language="zh"))  # no space in front of the word
    glued = [word_ids(lm.tokenizer, next(iter(words)), space=False)[0] for words in own.words.values()]
    word = sum(float(following(lm, own.looked.train.rows[place]["text"], [])[glued[label]]) for place, label in read)
    assert own.sequences(lm, "{text}", read)[0].word == pytest.approx(word, abs=1e-2)
    parents = sorted(found[1:5], key=lambda one: -one.score)[:2]  # half of those that were read go on
    assert {one.tokens[:1] for one in found[5:]} <= {one.tokens for one in parents}


def test_a_generator_reads_what_leaves_room_for_what_it_writes(search: Any, model: Callable[[str], Any]) -> None:
    lm, own = model("gpt2"), search("meals")
    most = lm.model.config.n_positions
    long = replace(own.config, trainer=replace(own.config.trainer, max_length=10 * most))
    assert longest_input(long, lm, 50) == most - 50 and longest_input(long, lm, 5) == most - ROOM
    text = {"text": "hot " * 10 * most}
    looked = Looked(Split("train", (Example(0, text, 0), Example(1, text, 1))), Split("unlabeled", ()))
    writes = Lm("template", long, option("search", "lm", minutes=None, width=2, longest=1), looked, own.bench)
    assert len(writes.sequences(lm, "{text}", [(0, 0), (1, 1)])) == 3


def test_paraphrases_substitute_the_likeliest_words(search: Any) -> None:
    own = search("meals")
    own = Paraphrase("template", own.config, option("search", "paraphrase", fill=2), own.looked, own.bench)
    some = phrases.atoms(Template.parse("{text} It was {mask}."))
    it, was = (own.filling.likely(some, place, place + 1, 2) for place in (1, 2))
    found = list(own.paraphrases(Candidate("{text} It was {mask}.", "p0", hand_written=True)))
    written = {candidate.written: rank for rank, candidate in found}
    assert written[f"{{text}} {it[0]} was {{mask}}."] == 1 and written[f"{{text}} It {was[1]} {{mask}}."] == 2
    assert written[f"{{text}} {it[1]} {was[0]} {{mask}}."] == 3 and len(found) == 2 + 2 + 4
    assert list(own.paraphrases(Candidate("{mask}: {text}", "p1"))) == []
    with pytest.raises(UserError, match=r"search=paraphrase: no template of the task has a word"):
        own.run()  # its bench knows none


def test_a_search_says_which_generator_it_needs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = build({"task": "meals"}, {"device": "cpu"}, str(CONF))
    bert = str(world.model("bert"))
    with pytest.raises(UserError, match=f"^search.generator={bert}: a model of the family masked; needed.$"):
        load_generator(bert, config, Session(), T5LM, "needed")
    with pytest.raises(UserError, match=r"^search\.generator=/none: no such folder"):
        load_generator("/none", config, Session(), T5LM, "needed")
    with pytest.raises(
        UserError, match=r"^search\.generator=t5_tinny: no such folder.*cache\. Did you mean 't5_tiny'\?$"
    ):
        load_generator("t5_tinny", config, Session(), T5LM, "needed")
    monkeypatch.setenv("HOME", "/none")
    with pytest.raises(UserError, match=r"^search\.generator=t5_tiny: ~/.cache/pet/t5-tiny: no such folder.*make t5"):
        load_generator("t5_tiny", config, Session(), T5LM, "needed")


def test_a_generator_that_is_not_there_is_told_before_anything_is_scored(world: World, tmp_path: Path) -> None:
    settings = {"model.name": str(world.model("bert")), "data.path": str(DATA / "meals"), "data.shots": 2}
    config = build({"task": "meals", "tuning": "zero_shot"}, {**settings, "device": "cpu"}, str(CONF))
    for kind in ("lm", "lmbff"):
        with pytest.raises(UserError, match=r"^search\.generator=/none: no such folder"):
            run_search("template", config, option("search", kind, generator="/none"), tmp_path / kind)
        assert (tmp_path / kind / "candidates.jsonl").read_text() == ""


def test_a_search_without_generator_or_examples_is_refused() -> None:
    config = build({"task": "meals"}, {}, str(CONF))
    with pytest.raises(UserError, match=r"search\.generator=null: .*t5_tiny"):
        option("search", "lmbff", generator=None).check_run("template", config)
    with pytest.raises(UserError, match=r"data\.shots must be at least 1"):
        none = replace(config, data=replace(config.data, shots=0))
        option("search", "lmbff").check_run("template", none)


def test_a_generator_is_a_file_of_conf_or_whatever_is_named(tmp_path: Path) -> None:
    assert generator_model("t5_tiny").name == "~/.cache/pet/t5-tiny" and generator_model("a/b").name == "a/b"
    assert option("search", "lmbff", generator="smollm2").models == ("smollm2",)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("name: a/t5\nrevision: refs/pr/3\n")
    own = _settings({"search.by": "lmbff", "search.generator": "mine"}, str(tmp_path))
    assert own.models == ("a/t5",) and generator_model(own.generator).revision == "refs/pr/3"
    for wrong, told in ((5, "search.generator=5"), ({"nam": "a/t5"}, "search.generator: .*'model.nam'")):
        with pytest.raises(UserError, match=told):
            option("search", "lmbff", generator=wrong).check("search")
