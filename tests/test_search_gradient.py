"""The search by gradient: what one pass says of the whole vocabulary, and what is made of it."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from goldens import CONF, DATA, World, contents, read_rows

from pet_cli.config.build import build, option
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.methods.prompted import to_learn
from pet_cli.prompts.batch import collate
from pet_cli.runs.session import Session
from pet_cli.search.base import Candidate, Looked
from pet_cli.search.bench import Bench, Scored
from pet_cli.search.gradient import Gradient, first_order
from pet_cli.search.run import search as run_search

SOME = ["so", "no", "yes", "it", "was", "maybe", "great", "a", "good", "bad", ".", "(", "##ly", "##ing"]


@pytest.fixture(scope="module")
def session() -> Session:
    """One for all searches here: it restores the model."""
    return Session(reuse=True)


@pytest.fixture
def search(world: World, session: Session, tmp_path: Path) -> Any:
    """A search by gradient on a tiny model, all of whose vocabulary but `SOME` is left out."""

    def made(task: str = "meals", model: str = "bert", template: str | None = None, **changes: Any) -> Gradient:
        name = world.model("bert") if model == "bert" else families.build(model, tmp_path / model)
        settings = {"model.name": str(name), "data.path": str(DATA / task), "data.shots": 2}
        settings |= {"trainer.eval_batch_size": 3, "device": "cpu", "template": template}  # more than one batch
        config = build({"task": task, "tuning": "zero_shot"}, settings, str(CONF))
        looked = Looked(session.to_search(config)["train"], Split("unlabeled", ()))
        own = option("search", "gradient", **{"minutes": None, **changes})
        found = Gradient("template", config, own, looked, Bench(config, own, looked, Context(session), tmp_path))
        if model == "bert":
            allowed = torch.zeros(len(found.lm.tokenizer), dtype=torch.bool)
            allowed[found.lm.tokenizer.convert_tokens_to_ids(SOME)] = True
            found.__dict__["_writable"] = found._writable & allowed
        return found

    return made


def loss(one: Scored) -> float:
    return one.scores["zero_shot"].loss


@pytest.mark.parametrize("model", ["bert", pytest.param("albert", marks=pytest.mark.slow)])
def test_the_change_to_first_order_is_the_slope_towards_another_token(search: Any, model: str) -> None:
    own = search(model=model)
    at = own.of_template("{text} So {mask}. No?")
    learner = own.bench.learner(Candidate("{text} {mask}", ""))
    targets = to_learn(own.config, own.looked.train)
    found = first_order(learner, own.prompts(at), at.ids, targets)
    weight = own.lm.model.get_input_embeddings().weight.detach()
    assert found.shape == (len(at.ids), len(weight)) and len(at.ids) >= 4
    assert found[range(len(at.ids)), at.ids].abs().max() < 1e-5

    def summed(place: int, token: int, share: float) -> float:
        """With the embedding of a trigger so far on its way to that of another token."""
        total = 0.0
        for prompt, target in zip(own.prompts(at), targets.tolist(), strict=True):  # one by one, without padding
            batch = collate([prompt], own.lm.tokenizer.pad_token_id)
            embeds = own.lm.model.get_input_embeddings()(batch.input_ids).detach()
            [position] = [where for where, slot in prompt.soft if slot == place]
            embeds[0, position] += share * (weight[token] - weight[at.ids[place]])
            words = torch.tensor([ids[0] for ids in learner.answers.ids])
            outputs = own.lm.model(inputs_embeds=embeds, attention_mask=batch.attention_mask)
            total -= float(outputs.logits[0, prompt.masks[0], words].log_softmax(-1)[target])
        return total

    with torch.no_grad():
        for place in (0, len(at.ids) - 1):
            for token in (int(found[place].argmin()), int(found[place].argmax())):
                slope = (summed(place, token, 0.02) - summed(place, token, -0.02)) / 0.04
                assert abs(slope) > 0.005 and float(found[place, token]) == pytest.approx(slope, rel=0.03)


def word_of(own: Gradient, one: Scored) -> str:
    """The first trigger of a template that was scored, as the vocabulary has it."""
    return str(own.lm.tokenizer.convert_ids_to_tokens(own.of_template(str(one.candidate.written)).ids[0]))


def test_a_flip_takes_the_least_loss_of_those_that_promise_most(search: Any) -> None:
    own = search(samples=99)
    lm, train = own.lm, own.looked.train
    exact = {}
    words = [word for word in SOME if word not in ("good", "bad", "##ly", "##ing")]
    with torch.no_grad():
        for word in words:  # by the model as transformers has it
            inputs = lm.tokenizer(
                [f"{row['text']} {word} [MASK]." for row in train.rows], return_tensors="pt", padding=True
            )
            rows, places = (inputs["input_ids"] == lm.tokenizer.mask_token_id).nonzero(as_tuple=True)
            logits = lm.model(**inputs).logits[rows, places]
            asked = logits[:, lm.tokenizer.convert_tokens_to_ids(["good", "bad"])]
            exact[word] = float(torch.nn.functional.cross_entropy(asked, torch.tensor(train.gold)))
    at = own.of_template("{text} a {mask}.")
    least, found = own.best(at, 0, "")
    tried = {word_of(own, one): loss(one) for one in own.bench.found}
    assert tried == {word: pytest.approx(exact[word]) for word in words if word != "a"}
    assert exact["a"] > least == min(tried.values())
    assert lm.tokenizer.convert_ids_to_tokens(found.ids) == [min(tried, key=tried.__getitem__), "."]

    learner = own.bench.learner(Candidate("{text} {mask}", ""))
    changes = first_order(learner, own.prompts(at), at.ids, to_learn(own.config, train))[0]
    few = search(samples=4)
    few.best(at, 0, "")
    promised = sorted(tried, key=lambda word: float(changes[lm.tokenizer.convert_tokens_to_ids(word)]))
    assert [word_of(few, one) for one in few.bench.found] == promised[:4]


@pytest.mark.parametrize("start", ["mask", "template"])
def test_each_step_goes_on_from_the_least_loss(start: str, search: Any) -> None:
    own = search(template="{text} It is so {mask}", samples=2, triggers=2, steps=4, start=start)
    own.run()
    best: tuple[list[int], float] = (own.beside_the_mask().ids, float("inf"))
    if start == "template":
        best = (own.of_template("{text} It is so {mask}").ids, loss(next(iter(own.bench.known.values()))))
    begun, places = best[1], []
    for (place, step), several in groupby(own.bench.found, lambda one: one.candidate.origin.split(", ")):
        tried = [
            (own.of_template(str(one.candidate.written)).ids[: 2 if start == "mask" else 3], loss(one))
            for one in several
        ]
        if start == "mask":
            tried = [(ids[: int(step[-1])], worth) for ids, worth in tried]  # without the stop
        for ids, _ in tried:
            changed = [n for n, token in enumerate(ids) if [token] != best[0][n : n + 1]]
            assert changed == [int(place.removeprefix("trigger ")) - 1]
        places.append(changed)
        grown = len(tried[0][0]) > len(best[0])
        best = min([*tried, *([] if grown else [best])], key=lambda one: one[1])
    assert len(places) > 2 and best[1] < begun


def test_nothing_is_proposed_that_reads_otherwise_or_brings_in_a_label_word(search: Any) -> None:
    own = search(samples=99)
    tokenizer = own.lm.tokenizer

    def readable(*tokens: str) -> bool:
        at = own.beside_the_mask()
        for token in tokens:
            at = at.grown(tokenizer.convert_tokens_to_ids(token))
        return bool(own.reads(Candidate(at.line(tokenizer, " "), ""), own.prompts(at)))

    assert readable("so", "great") and readable("z", "##ing") and readable("(", ".")  # pieces that read as they are
    assert not readable("t", "##t", "##h")  # two of them are one to the tokenizer
    assert not readable("c", "##a", "##k", "##e") and not readable("##ing")
    at = own.of_template("{text} x {mask}")
    for words, named in (("goods", 0), ("so good", 1), ("Good, bad", 2), ("bade", 0)):
        assert own._named(own.of_template(f"{{text}} {words} {{mask}}")) == named
    own.best(at, 0, "")
    assert not {"good", "bad"} & {word_of(own, one) for one in own.bench.found} and own.bench.found


@pytest.mark.parametrize(
    ("task", "source", "expected"),
    [
        ("meals", "{text} It was ({mask}.", "{text} it was ({mask}."),
        ("meals", 'So {mask}! {soft:"It was"} {text}', "so {mask}! it was {text}"),
        ("pairs", "{first:strip}? | {mask}, {second:lower}", "{first:strip}? | {mask}, {second:lower}"),
    ],
)
def test_the_words_of_a_template_are_triggers(task: str, source: str, expected: str, search: Any) -> None:
    own = search(task)
    at = own.of_template(source)
    assert at.line(own.lm.tokenizer, " ") == expected
    assert own.reads(Candidate(source, ""), own.prompts(at))
    assert [len(prompt.soft) for prompt in own.prompts(at)] == [len(at.ids)] * len(own.looked.train)
    flipped = at.flipped(len(at.ids) - 1, 7)
    assert flipped.ids == [*at.ids[:-1], 7]


@pytest.mark.parametrize("model", ["xlmr", pytest.param("albert", marks=pytest.mark.slow)])
def test_triggers_are_the_tokens_that_a_tokenizer_has_there(model: str, search: Any) -> None:
    own = search(model=model)
    for source, least in (("It was {mask}. {text}", 2), ("{text} It was {mask}!", 3)):
        at = own.of_template(source)
        assert len(at.ids) >= least and own._reads_itself(at)


def test_two_texts_have_the_triggers_between_them(search: Any) -> None:
    own = search("pairs", samples=2, triggers=2, steps=2)
    own.run()
    lines = [str(one.candidate.written) for one in own.bench.found]
    assert len(lines) == 4 and all(line.startswith("{first} {mask}") and line.endswith(" {second}") for line in lines)


@pytest.mark.slow
def test_an_interrupted_search_goes_the_same_way(world: World, data: Path, tmp_path: Path) -> None:
    settings = {"model.name": str(world.model("bert")), "data.path": str(data), "data.shots": 2, "device": "cpu"}
    config = build({"task": "meals", "tuning": "zero_shot"}, settings, str(CONF))

    def ran(name: str, steps: int) -> int:
        own = option("search", "gradient", minutes=None, samples=3, triggers=2, steps=steps)
        run_search("template", config, own, tmp_path / name)
        return len(read_rows(tmp_path / name / "candidates.jsonl"))

    whole = ran("at once", 5)
    (data / "test.jsonl").write_text("no json at all")  # whoever opened it would say so
    first = ran("in parts", 2)
    assert ran("in parts", 5) == whole > first
    assert contents(tmp_path / "in parts") == contents(tmp_path / "at once")


def test_it_says_what_it_lacks(search: Any, tmp_path: Path) -> None:
    own = search(start="template")
    with pytest.raises(UserError, match=r"search\.start=template: .* no word .*start=mask"):
        own.of_template("{text} {mask}")
    own.__class__ = type("Other", (Gradient,), {"lm": type("Lm", (), {"family": "decoder_only"})()})
    with pytest.raises(UserError, match=r"search=gradient: .*masked LM.*decoder_only"):
        own.run()
