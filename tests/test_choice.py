"""Choosing among the runs of a sweep: every rule by values worked out by hand, and no look at the test labels."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from goldens import CONF, DATA, World, pet, read
from hypothesis import given
from hypothesis import strategies as st
from sources import data_of, run_of, task_of

from pet_cli import methods, report
from pet_cli.choice import labeled, scores, unlabeled, winners
from pet_cli.choice.candidate import Candidate
from pet_cli.choice.perplexity import MASKED, perplexity, surprise
from pet_cli.config.build import build
from pet_cli.config.choice import RULES
from pet_cli.data.draw import draw_for_choice
from pet_cli.data.examples import Example, Split
from pet_cli.data.parts import most_parts, others, parts
from pet_cli.errors import UserError
from pet_cli.methods import Context
from pet_cli.methods.prompted import PromptMethod
from pet_cli.models.base import LanguageModel
from pet_cli.models.loading import load
from pet_cli.prompts.encoder import PromptEncoder
from pet_cli.prompts.template import Template
from pet_cli.report import chosen as chosen_report
from pet_cli.report.document import Table
from pet_cli.report.runs import read_study
from pet_cli.runs.nats import losses
from pet_cli.runs.session import Session
from pet_cli.tasks import targets

TWO = targets.make("label", ["bad", "good"])
THREE = targets.make("label", ["a", "b", "c"])


def sample(gold: list[Any], groups: list[str | None] | None = None) -> Split:
    owners = groups or [None] * len(gold)
    rows = zip(gold, owners, strict=True)
    return Split("train", tuple(Example(100 + i, {"text": f"text {i}"}, g, (), o) for i, (g, o) in enumerate(rows)))


class Learning:
    """A run whose method, having seen n examples, gives what is right the probability n / 10."""

    def __init__(self, train: Split, folds: int, splits: int = 1) -> None:
        self.train, self.target = train, TWO
        self.asked: list[tuple[set[int], set[int]]] = []
        self.config = SimpleNamespace(choice=SimpleNamespace(folds=folds, splits=splits))

    def learned(self, seen: Split, held: Split) -> np.ndarray:
        self.asked.append(({e.row for e in seen.examples}, {e.row for e in held.examples}))
        right = len(seen) / 10
        return np.log([[1 - right, right] if gold else [right, 1 - right] for gold in held.gold])

    def untrained(self, held: Split) -> np.ndarray:
        return np.zeros((len(held), 2))


# --- rules by hand -------------------------------------------------------------------------------------------------


def test_cross_validation_is_the_mean_loss_of_examples_held_out() -> None:
    run = Learning(sample([0, 1] * 4), folds=4)
    told = labeled.cross_validation(run)  # type: ignore[arg-type]
    assert told == {"score": pytest.approx(-math.log(0.6)), "folds": 4, "examples": 8}
    assert all(not seen & held and len(seen | held) == 8 for seen, held in run.asked)
    assert sorted(row for _, held in run.asked for row in held) == list(range(100, 108))


def test_description_length_writes_each_block_by_what_was_learned_of_those_before() -> None:
    run = Learning(sample([0, 1] * 4), folds=4)
    told = labeled.description_length(run)  # type: ignore[arg-type]
    by_hand = 2 * math.log(2) - 2 * (math.log(0.2) + math.log(0.4) + math.log(0.6))
    assert told == {"score": pytest.approx(by_hand), "blocks": 4, "examples": 8}
    assert [len(seen) for seen, _ in run.asked] == [2, 4, 6]
    assert run.asked[1][0] == run.asked[0][0] | run.asked[0][1]


def test_what_a_rule_trains_has_the_development_and_unlabeled_examples_of_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[dict[str, Split]] = []

    class Fitting:
        def fit(self, splits: dict[str, Split]) -> None:
            fitted.append(splits)

        def predict(self, split: Split) -> np.ndarray:
            return np.zeros((len(split), 2))

    own = {"data.path": str(DATA / "meals"), "model.name": str(world.model("bert")), "device": "cpu"}
    config = build({"task": "meals"}, own, str(CONF))
    run = Candidate(config, Context(Session()))
    there = {name: sample([0, 1]) for name in ("train", "dev", "unlabeled", "texts")}
    run.__dict__["splits"] = there
    monkeypatch.setattr(methods, "build", lambda config, context: Fitting())
    seen, held = sample([0]), sample([1])
    assert run.learned(seen, held).shape == (1, 2)
    assert fitted == [{"dev": there["dev"], "unlabeled": there["unlabeled"], "train": seen, "test": held}]


def test_folds_are_at_most_the_examples_of_the_rarest_label() -> None:
    run = Learning(sample([0, 0, 0, 0, 1, 1, 1]), folds=5)
    assert labeled.cross_validation(run)["folds"] == 3  # type: ignore[arg-type]
    with pytest.raises(UserError, match="label 'good' has a single training text"):
        labeled.cross_validation(Learning(sample([0, 0, 0, 1]), folds=2))  # type: ignore[arg-type]


def test_halves_are_scored_on_what_was_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[float] = []

    def score(config: Any, split: Split, scores: np.ndarray) -> float:
        scored.append((np.argmax(scores, axis=1) == split.gold).mean() - 0.1 * len(scored))
        return scored[-1]

    monkeypatch.setattr(labeled, "score", score)
    run = Learning(sample([0, 1] * 8), folds=4, splits=3)
    told = labeled.halves(run)  # type: ignore[arg-type]
    assert told == {"score": pytest.approx(1.0 - 0.1), "splits": 3, "examples": 16}  # 1, 0.9, 0.8
    assert len({frozenset(held) for _, held in run.asked}) == 3
    assert all(len(seen) == len(held) == 8 and not seen & held for seen, held in run.asked)


def test_losses_are_cross_entropies_whatever_the_target() -> None:
    scores = np.log([[0.2, 0.3, 0.5], [0.7, 0.1, 0.2]])
    assert losses(scores + 5, [2, 1], THREE) == pytest.approx([-math.log(0.5), -math.log(0.1)])
    several = targets.make("labels", ["a", "b", "c"])
    half = -(math.log(0.2) + math.log(0.5)) / 2
    assert losses(scores, [(0, 2), (1,)], several) == pytest.approx([half, -math.log(0.1)])
    number = targets.make("number", ["low", "high"], [0, 4])
    assert losses(np.log([[0.4, 0.6]]), [3.0], number) == pytest.approx([-(math.log(0.4) + 3 * math.log(0.6)) / 4])
    own = np.array([[0.0, 0.0, -np.inf], [1.0, 1.0, 1.0]])
    assert losses(own, [1, (0, 2)], targets.make("choice", [])) == pytest.approx([math.log(2), math.log(3)])


def test_mutual_information_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    assert unlabeled.information(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(math.log(2))
    assert unlabeled.information(np.array([[0.3, 0.7], [0.3, 0.7]])) == pytest.approx(0)
    # H(0.6) = 0.673012; H(0.8) = 0.500402, H(0.4) = 0.673012
    assert unlabeled.information(np.array([[0.8, 0.2], [0.4, 0.6]])) == pytest.approx(0.0863047, abs=1e-7)


def test_agreement_is_with_the_mean_of_all_runs() -> None:
    one = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    two = np.array([[0.6, 0.4], [0.3, 0.7], [0.4, 0.6]])
    three = np.array([[0.4, 0.6], [0.4, 0.6], [0.9, 0.1]])
    # means of the first label: 0.633, 0.433, 0.533
    assert unlabeled.agreement([one, two, three], TWO) == pytest.approx([1 / 3, 2 / 3, 2 / 3])


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(2, 6), st.one_of(st.none(), st.integers(0, 5)))
def test_parts_hold_every_example_once_and_every_label_evenly(gold: list[int], n: int, seed: int | None) -> None:
    four = targets.make("label", ["a", "b", "c", "d"])
    found = parts(sample(gold), four, n, seed)
    assert sorted(place for own in found for place in own) == list(range(len(gold)))
    for label in set(gold):
        counts = [sum(gold[place] == label for place in own) for own in found]
        assert max(counts) - min(counts) <= 1
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert sorted(others(found, 0) + found[0]) == list(range(len(gold)))


def test_what_belongs_to_one_question_lies_in_one_part() -> None:
    split = sample([0, 1, 0, 1, 0, 0], ["q1", "q1", "q2", "q2", "q3", "q3"])
    found = parts(split, TWO, 3)
    assert sorted(found) == [[0, 1], [2, 3], [4, 5]] and most_parts(split, TWO) == 3


def test_equal_texts_lie_in_one_part() -> None:
    split = Split("train", tuple(Example(row, {"text": f"text {row // 2} "}, row // 2 % 2) for row in range(12)))
    found = parts(split, TWO, 3)
    assert all({place ^ 1 for place in own} == set(own) for own in found) and sum(map(len, found)) == 12
    assert most_parts(split, TWO) == 3
    none = Split("train", (Example(0, {"text": "a"}, ()),))
    with pytest.raises(UserError, match="no training example has a label"):
        most_parts(none, targets.make("labels", ["a", "b"]))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_perplexity_is_of_the_prompt_s_own_tokens_one_by_one(family: str, world: World) -> None:
    lm = load(str(world.model(family)), device="cpu")
    rows = [{"text": "the soup was good"}, {"text": "no"}]
    template = lm.adapt(Template.parse("{text} It was {mask}.", ["text"]))
    prompts = PromptEncoder(lm.tokenizer, template, 60, lm.mask_token).encode(rows)
    by_hand = [_surprise(lm, prompt.ids, prompt.masks[0]) for prompt in prompts]
    assert surprise(lm, prompts, 3) == pytest.approx(by_hand, rel=1e-4)


@torch.inference_mode()
def _surprise(lm: LanguageModel, ids: list[int], mask: int) -> float:
    """The mean of -log p over tokens, by transformers' own forward of one text at a time."""
    found = []
    special = set(lm.tokenizer.all_special_ids)
    if lm.family == "decoder_only":
        ids = ids[:mask]
        logs = lm.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        found = [-logs[place - 1, ids[place]].item() for place in range(1, len(ids)) if ids[place] not in special]
    else:
        for place in (place for place in range(len(ids)) if ids[place] not in special):
            hidden = torch.tensor([[*ids[:place], lm.tokenizer.mask_token_id, *ids[place + 1 :]]])
            output = lm.model(input_ids=hidden, attention_mask=torch.ones_like(hidden))
            logits = output.logits if hasattr(output, "logits") else output.prediction_logits
            found.append(-logits[0, place].log_softmax(-1)[ids[place]].item())
    return sum(found) / len(found)


def test_perplexity_is_of_texts_drawn_wherever_they_stand() -> None:
    read: list[dict[str, str]] = []
    lm = SimpleNamespace(family="masked", identity=())
    encoder = SimpleNamespace(encode=read.extend)
    method: Any = PromptMethod.__new__(PromptMethod)
    method.learner = SimpleNamespace(lm=lm, encoder=encoder, template=Template("", ()), max_length=9, batch_size=2)
    texts = Split("texts", tuple(Example(row, {"text": f"{row}"}, None) for row in range(400)), notes=("those",))
    context = SimpleNamespace(session=SimpleNamespace(memo=SimpleNamespace(get=lambda key, make: [0.0])))
    config = SimpleNamespace(data=SimpleNamespace(seed=13))
    run: Any = SimpleNamespace(as_it_is=lambda: method, texts=texts, context=context, config=config)
    assert perplexity(run) == {"score": 1.0, "examples": MASKED, "of": "those"}
    assert len(read) == MASKED and max(int(row["text"]) for row in read) > 300


def test_texts_without_labels_are_never_those_of_the_test() -> None:
    def split(name: str, n: int) -> Split:
        return Split(name, tuple(Example(i, {"text": f"{name} {i}"}, i % 2) for i in range(n)))

    def texts(unlabeled: bool = False, **values: Any) -> list[Example]:
        there = {"train": split("train", 12), "test": split("test", 9)}
        there |= {"unlabeled": split("unlabeled", 5)} if unlabeled else {}
        config = run_of(task=task_of(labels=["bad", "good"]), data=data_of(**values))
        return list(draw_for_choice(config, there)["texts"].examples)

    assert {text.fields["text"] for text in texts(unlabeled=True, shots=2)} == {f"unlabeled {i}" for i in range(5)}
    rest = texts(shots=2)
    assert len(rest) == 8 and all(text.gold is None and "train" in text.fields["text"] for text in rest)
    assert len(texts(shots=None)) == 12  # of the sample itself, where nothing else is left


# --- a sweep -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def no_reports() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_report", lambda folders, out=None: folders[0] / "report" / "index.html")
        yield


SELECT = "select=[cv,splits,mdl,dev,mi,agreement,perplexity]"
SWEEP = ("-m", "pattern=p0,p1", "seed=1,2", "tuning=head", "data.dev_shots=2", "data.shots=3", "choice.folds=3")


def sweep(world: World, folder: Path, data: Path, *overrides: str) -> str:
    own = (f"hydra.sweep.dir={folder}", f"data.path={data}", *SWEEP)
    code, said = world.attempt(None, *own, *overrides)
    assert code == 0, said
    return said


def files(folder: Path) -> dict[str, bytes]:
    """The files of results below a sweep's folder."""
    names = ("predictions.jsonl", "metrics.json", "config.yaml", "sample.json", "account.json", "trained.safetensors")
    return {str(path.relative_to(folder)): path.read_bytes() for name in names for path in folder.rglob(name)}


@pytest.fixture(scope="module")
def chosen(world: World, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A sweep scored by every rule, and the folder of data it read, whose labels of test it may not read."""
    folder = tmp_path_factory.mktemp("choice")
    shutil.copytree(DATA / "meals", folder / "data")
    said = sweep(world, folder / "s", folder / "data", SELECT)
    return SimpleNamespace(
        folder=folder / "s", data=folder / "data", said=said, told=read(folder / "s" / "choice.json")
    )


@pytest.mark.xdist_group("choice")
@pytest.mark.slow
def test_every_rule_names_a_winner_for_each_seed_among_the_patterns(chosen: SimpleNamespace) -> None:
    assert set(chosen.told["rules"]) == set(RULES)
    assert [group["given"] for group in chosen.told["groups"]] == [
        {"task": "meals", "data.shots": 3, "seed": seed} for seed in (1, 2)
    ]
    for group in chosen.told["groups"]:
        assert len(group["scores"]) == 2 and "lacking" not in group
        for rule, winner in group["winners"].items():
            best = min if RULES[rule].lowest else max
            assert (
                winner["score"]
                == group["scores"][winner["run"]][rule]
                == best(own[rule] for own in group["scores"].values())
            )
            assert f"seed={group['given']['seed']}" in winner["run"]
    won = chosen.told["groups"][0]["winners"]["cv"]
    assert f"cv (task=meals data.shots=3 seed=1): {won['run'].partition(',')[0]} ({won['score']:g})" in chosen.said


@pytest.mark.xdist_group("choice")
def test_choices_are_equal_where_the_test_labels_are_wrong(
    chosen: SimpleNamespace, world: World, tmp_path: Path
) -> None:
    whole = (chosen.data / "test.jsonl").read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    wrong = {"tasty": "bland", "bland": "tasty"}
    poisoned = "".join(json.dumps({**row, "label": wrong[row["label"]]}) + "\n" for row in rows)
    try:
        (chosen.data / "test.jsonl").write_text(poisoned)
        sweep(world, tmp_path / "s", chosen.data, SELECT)
    finally:
        (chosen.data / "test.jsonl").write_text(whole)
    assert (tmp_path / "s" / "choice.json").read_bytes() == (chosen.folder / "choice.json").read_bytes()
    assert files(tmp_path / "s") != files(chosen.folder)  # the results did see them


@pytest.mark.xdist_group("choice")
@pytest.mark.slow
def test_a_finished_sweep_is_scored_later_and_its_results_stay(
    chosen: SimpleNamespace, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(world, tmp_path, chosen.data, "seed=1")
    assert not list(tmp_path.rglob("choice.json")) and not list(tmp_path.rglob("selection.json*"))
    before = files(tmp_path)
    assert before == {name: own for name, own in files(chosen.folder).items() if "seed=1" in name}
    monkeypatch.setattr("pet_cli.execute.execute", None)  # `select` changes no result: nothing is run again
    sweep(world, tmp_path, chosen.data, "seed=1", "select=[cv,mi,dev]", "resume=true")
    monkeypatch.setattr("pet_cli.choice.labeled.cross_validation", None)  # nor is what was scored
    sweep(world, tmp_path, chosen.data, "seed=1", SELECT, "resume=true")
    assert files(tmp_path) == before
    assert read(tmp_path / "choice.json")["groups"] == chosen.told["groups"][:1]
    for run in (path.parent for path in tmp_path.glob("*/state.json")):
        assert set(read(run / "timing.json")["choice"]) == set(RULES)
        assert read(run / "state.json").keys() == read(chosen.folder / run.name / "state.json").keys()
    own = (*SWEEP, "seed=1", f"hydra.sweep.dir={tmp_path}", f"data.path={chosen.data}")
    code, said = world.attempt(None, *own, "select=[mdl]", "resume=true", "choice.folds=2")
    assert code == 0 and {read(path)["mdl"]["blocks"] for path in tmp_path.glob("*/selection.json")} == {2}, said


def test_the_states_of_what_is_frozen_are_computed_once_for_all_folds(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pet_cli.tuning.base import PromptLearner

    asked: list[int] = []
    states = PromptLearner.frozen_states

    def watched(self: PromptLearner, encoded: Any, fingerprint: str | None, advance: Any) -> torch.Tensor:
        def count(n: int) -> None:
            asked.append(n)

        return states(self, encoded, fingerprint, count)

    monkeypatch.setattr(PromptLearner, "frozen_states", watched)
    own = ("-m", "pattern=p0,p1", "tuning=head", f"hydra.sweep.dir={tmp_path}", "select=[cv,mdl,splits]")
    code, said = world.attempt(None, *own)
    assert code == 0, said
    assert sum(asked) == 2 * (8 + 8)  # the sample and the test texts, once for each template


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("method=tfidf", "method.strength=1,5"),
        ("ensemble=patterns", "ensemble.patterns=[p0,p1]", "verbalizer=v0,v1"),
        ("tuning=full", "pattern=p0,p1"),
    ],
)
def test_any_method_is_scored_and_its_results_are_none_the_other(
    overrides: tuple[str, ...], world: World, tmp_path: Path
) -> None:
    own = ("-m", "data.shots=2", "choice.folds=2", "choice.splits=1", *overrides)
    for name, more in (("with", ["select=[cv,mdl,splits,mi]"]), ("without", [])):
        code, said = world.attempt(None, *own, *more, f"hydra.sweep.dir={tmp_path / name}")
        assert code == 0, said
    assert files(tmp_path / "with") == files(tmp_path / "without")
    code, said = world.attempt(None, *own, "select=[mi,cv]", f"hydra.sweep.dir={tmp_path / 'without'}", "resume=true")
    assert code == 0, said
    there, here = (read(tmp_path / name / "choice.json")["groups"][0]["scores"] for name in ("with", "without"))
    assert {run: own["mi"] for run, own in there.items()} == {run: own["mi"] for run, own in here.items()}


@pytest.mark.xdist_group("choice")
def test_predict_takes_the_winner(chosen: SimpleNamespace) -> None:
    code, said = pet("predict", str(chosen.folder), "--text", "Good soup.", "--choice", "cv", "seed=2")
    won = chosen.told["groups"][1]["winners"]["cv"]["run"]
    assert code == 0 and said == pet("predict", str(chosen.folder / won), "--text", "Good soup.")[1]
    for asked, wrong in {
        ("cv",): "chose 2 times; add one of seed=1, seed=2.",
        ("cv", "seed=3"): "seed=3: not one of 1, 2.",
        ("cv", "shots=3"): "chose within task, data.shots, seed.",
        ("cvs", "seed=1"): "--choice=cvs: not one of dev, mi, agreement",
        ("cv", "seed"): "--choice cv seed: write KEY=VALUE",
    }.items():
        code, said = pet("predict", str(chosen.folder), "--text", "Good soup.", "--choice", *asked)
        assert code == 2 and wrong in said and said.count("\n") == 1, said
    code, said = pet("predict", str(chosen.folder / won), "--text", "x", "--choice", "cv")
    assert code == 2 and "nothing was chosen there" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "wrong"),
    [
        (("select=[cv]",), "select=[cv]: one run has nothing to choose among"),
        (("-m", "select=[cv]", "seed=1,2"), "only in task, data and seeds have nothing to choose among"),
        (("-m", "select=[cv]", "pattern=p0,p1", "choice.within=[pattern]"), "(or in choice.within=pattern)"),
        (("-m", "select=[cv]", "pattern=p0,p1", "choice.within=[patern]"), "Did you mean 'pattern'?"),
        (("-m", "select=cv,mdl", "pattern=p0,p1"), "select: several rules are a list"),
        (("-m", "select=[mld]", "pattern=p0,p1"), "perplexity, cv, splits, mdl. Did you mean 'mdl'?"),
        (("-m", "select=[1]", "pattern=p0,p1"), "write a list, such as select=[cv,mdl]"),
        (("-m", "select=[dev]", "pattern=p0,p1"), "dev needs development examples"),
        (("-m", "select=[cv]", "pattern=p0,p1", "data.shots=1"), "data.shots=1 leaves it too few"),
        (("-m", "select=[mdl]", "ensemble=pet", "pattern=p0,p1", "data.shots=0"), "data.shots=0 leaves it too few"),
        (("-m", "select=[perplexity]", "method=tfidf", "method.strength=1,2"), "is of a single template"),
        (("-m", "select=[perplexity]", "tuning=classifier", "tuning.pooling=cls,mean"), "is of a single template"),
        (("-m", "choice.folds=1", "pattern=p0,p1"), "choice.folds=1: must be a whole number at least 2"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_one_line(
    overrides: tuple[str, ...], wrong: str, world: World, tmp_path: Path
) -> None:
    place = f"hydra.{'sweep' if '-m' in overrides else 'run'}.dir={tmp_path / 's'}"
    code, said = world.attempt(None, *overrides, place)
    assert code == 2 and wrong in said and said.count("\n") <= 1, said
    assert not list(tmp_path.rglob("state.json"))


def test_a_sweep_of_which_nothing_finished_and_a_damaged_score_are_told_in_a_line(tmp_path: Path) -> None:
    assert winners.choose(tmp_path, ["cv"], [])["groups"] == []
    with pytest.raises(UserError, match=r"--choice cv: .* chose nothing, since none of its runs has finished"):
        winners.winner(tmp_path, "cv", {"seed": "13"})
    for told in ('{"cv": {"by": {}}}', '{"cv": 1}', "[]"):
        (tmp_path / "selection.json").write_text(told)
        with pytest.raises(UserError, match=r"selection\.json is damaged"):
            scores.read(tmp_path)
    for told in ('{"agreement": {"by": {}}}', '{"cv": {"by": {}, "score": 0.5}}', '{"cv": {"refused": "so"}}'):
        (tmp_path / "selection.json").write_text(told)
        assert scores.read(tmp_path) == json.loads(told)


def test_mutual_information_means_nothing_for_a_number(world: World, tmp_path: Path) -> None:
    own = ("-m", "pattern=p0,p1", "select=[mi]", f"hydra.sweep.dir={tmp_path}")
    code, said = world.attempt(None, *own, task="degrees")
    assert code == 2 and "select: mi means nothing for task.target=number; it is for label." in said


@pytest.mark.slow
def test_a_label_with_one_example_is_no_score_and_keeps_the_result(world: World, tmp_path: Path) -> None:
    shutil.copytree(DATA / "meals", tmp_path / "data")
    rows = [json.loads(line) for line in (tmp_path / "data" / "train.jsonl").read_text().splitlines()]
    few = [row for row in rows if row["label"] == "tasty"][:1] + [row for row in rows if row["label"] == "bland"]
    (tmp_path / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in few))
    own = ("-m", "pattern=p0,p1", "tuning=head", "select=[cv,mi]", "data.fewer=take", f"data.path={tmp_path / 'data'}")
    code, said = world.attempt(None, *own, f"hydra.sweep.dir={tmp_path / 's'}")
    assert code == 1 and "cv names no winner" in said and "label 'tasty' has a single training text" in said
    [group] = read(tmp_path / "s" / "choice.json")["groups"]
    assert group["winners"]["cv"] is None and group["winners"]["mi"] and len(group["lacking"]["cv"]) == 2
    assert all(read(path)["status"] == "done" for path in (tmp_path / "s").glob("*/state.json"))
    with pytest.raises(UserError, match=r"no run was chosen, since .* has a single training text"):
        winners.winner(tmp_path / "s", "cv")


# --- the report ----------------------------------------------------------------------------------------------------


def election(scores: tuple[float, ...], **picked: float) -> chosen_report.Election:
    return chosen_report.Election("toy", scores, picked, {})


def test_what_a_rule_keeps_is_its_share_of_the_oracle_s_lead_over_the_mean() -> None:
    found = [election((0.5, 0.6, 0.7), cv=0.7, mi=0.5), election((0.5, 0.5, 0.8), cv=0.5, mi=0.8)]
    # leads of the oracle: 0.1 and 0.2; of cv: 0.1 and -0.1; of mi: -0.1 and 0.2
    assert chosen_report.kept(found, "cv") == pytest.approx(0)
    assert chosen_report.kept(found, "mi") == pytest.approx(1 / 3)
    assert chosen_report.kept(found[:1], "cv") == pytest.approx(1)
    assert chosen_report.kept([election((0.5, 0.5), cv=0.5)], "cv") is None
    assert chosen_report.kept(found, "mdl") is None
    assert chosen_report.finding(found) == (
        "Of the oracle's lead of 15.0 points over the mean of the runs, mi keeps 33\u00a0% and cv 0\u00a0%."
    )


@pytest.mark.xdist_group("choice")
def test_the_report_stands_the_chosen_between_the_oracle_and_the_worst(chosen: SimpleNamespace) -> None:
    study = read_study([chosen.folder])
    found = chosen_report.elections(study)
    assert [len(one.scores) for one in found] == [2, 2] and set(found[0].picked) == set(RULES)
    of = {run.folder.name: run.score for run in study.runs}
    for one, group in zip(found, chosen.told["groups"], strict=True):
        assert one.picked == {rule: of[winner["run"]] for rule, winner in group["winners"].items()}
        assert sorted(one.scores) == sorted(of[name] for name in group["scores"])
    section = chosen_report.choice_section(study)
    assert section is not None
    [table] = [block for block in section.blocks if isinstance(block, Table)]
    assert [row[0] for row in table.rows] == ["oracle", *chosen.told["rules"], "mean", "worst"]
    assert all(row[-1] != "–" for row in table.rows[1:-2])
