"""Searches for prompts: what they look at, what they write, how they go on, and what a run takes of them."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from goldens import CONF, DATA, HERE, Searched, World, contents, pet, read, read_rows

from pet_cli.base.progress import Progress
from pet_cli.commands.search import _folder, _line
from pet_cli.config import registry, resolve
from pet_cli.config.build import build, option
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Example, Split
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.encoder import word_ids
from pet_cli.prompts.template import Template
from pet_cli.runs.session import Session
from pet_cli.search import filling, phrases, scores
from pet_cli.search.base import Candidate, Looked
from pet_cli.search.bench import Bench, Scored
from pet_cli.search.edits import Edits
from pet_cli.search.filling import Filling
from pet_cli.search.kpt import Kpt
from pet_cli.search.mining import Mining, contexts, joints
from pet_cli.search.rules import Rules
from pet_cli.search.run import LOOKED, _claim, _cross_validate, hand_written
from pet_cli.search.run import search as run_search
from pet_cli.search.scores import Score

MEALS, PAIRS = (build({"task": task}, {}, str(CONF)) for task in ("meals", "pairs"))


def test_nothing_that_a_run_scores_is_looked_at(searched: Searched, data: Path, tmp_path: Path) -> None:
    rows = [
        {**row, "label": {"tasty": "bland", "bland": "tasty"}[row["label"]]} for row in read_rows(data / "test.jsonl")
    ]
    assert searched("template", tmp_path / "as it is")[0] == 0
    (data / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert searched("template", tmp_path / "poisoned")[0] == 0
    (data / "test.jsonl").write_text("no json at all")  # whoever opened it would say so
    (data / "test.jsonl").rename(data / "validation.jsonl")
    assert searched("template", tmp_path / "validation")[0] == 0
    (data / "validation.jsonl").unlink()
    assert searched("template", tmp_path / "deleted")[0] == 0
    for name in ("poisoned", "validation", "deleted"):
        assert contents(tmp_path / name) == contents(tmp_path / "as it is")


def test_a_search_writes_what_it_found_and_what_it_looked_at(searched: Searched, data: Path, tmp_path: Path) -> None:
    code, said = searched("template", tmp_path / "found", "search.keep=2")
    assert code == 0, said
    table = read_rows(tmp_path / "found" / "candidates.jsonl")
    by_name = {row["name"]: row for row in table if row["name"]}
    found = yaml.safe_load((tmp_path / "found" / "found.yaml").read_text())
    assert found["templates"] == [by_name["f0"]["written"], by_name["f1"]["written"]] and found["task"] == "meals"
    assert {"p0", "p1", "p2", "f0", "f1"} == set(by_name) and by_name["p0"]["hand_written"]
    worth = [(row["head"], -row["head_loss"]) for row in table if "head" in row]
    assert worth == sorted(worth, reverse=True) and len(worth) == 2 + 3  # finalists, and all the hand-written
    assert all(row["texts"] == 8 for row in table if "refused" not in row)
    assert {row["steps"] for row in table if "head" in row} == {4 * 2}  # folds times trainer.max_steps
    looked = read(tmp_path / "found" / "looked.json")
    sample = read(run_of(data, tmp_path / "run") / "sample.json")["train"]
    assert looked["train"] == sample and looked["seed"]["data"] == 13 and "torch" in looked["versions"]
    settings = yaml.safe_load((tmp_path / "found" / "search.yaml").read_text())
    assert settings["search"]["keep"] == 2 and settings["tuning"]["name"] == "head" and settings["what"] == "template"
    assert by_name["f0"]["written"] in said and "p0" in said


def run_of(data: Path, folder: Path) -> Path:
    """A run with the settings of the searches, as far as they draw its sample."""
    given = ("tuning=head", "trainer.max_steps=2", "data.shots=4", "device=cpu", "baseline=false", "model=random")
    code, said = pet(
        *("train", "--config-dir", str(CONF), "task=meals", f"data.path={data}", f"hydra.run.dir={folder}", *given)
    )
    assert code == 0, said
    return folder


@pytest.mark.parametrize("stopped_by", ["candidates", "interrupt"])
def test_the_same_command_goes_on(
    stopped_by: str, searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert searched("template", tmp_path / "at once")[0] == 0
    if stopped_by == "candidates":
        code, said = searched("template", tmp_path / "in parts", "search.candidates=2")
        assert code == 0 and "ended by search.candidates=2" in said
        assert read(tmp_path / "in parts" / "timing.json")["commands"][0]["stopped"] == "candidates"
    else:
        with monkeypatch.context() as patch:
            patch.setattr("pet_cli.search.bench.cross_validated", interrupted)
            assert searched("template", tmp_path / "in parts")[0] == 130
    before = {row["tokens"] for row in read_rows(tmp_path / "in parts" / "candidates.jsonl") if "refused" not in row}
    asked: list[Any] = []
    judged = scores.judged
    monkeypatch.setattr("pet_cli.search.bench.judged", lambda *given: asked.append(given) or judged(*given))
    assert searched("template", tmp_path / "in parts")[0] == 0
    whole, parts = (
        {row["tokens"]: row["zero_shot_loss"] for row in read_rows(folder / "candidates.jsonl") if "refused" not in row}
        for folder in (tmp_path / "at once", tmp_path / "in parts")
    )
    assert whole == parts and before and len(asked) == len(whole) - len(before)
    finalists, more = (
        {row["tokens"] for row in read_rows(folder / "candidates.jsonl") if "head" in row}
        for folder in (tmp_path / "at once", tmp_path / "in parts")
    )
    assert finalists <= more
    if stopped_by == "interrupt":  # those that were cross-validated within a smaller budget stay so
        assert contents(tmp_path / "in parts") == contents(tmp_path / "at once")


def interrupted(*given: Any) -> Any:
    raise KeyboardInterrupt


def test_the_best_found_and_the_best_hand_written_are_cross_validated_first() -> None:
    hand_written = (False, True, True, False, True)
    known = [
        Scored(Candidate(f"{place}", "", own), {"zero_shot": Score(place, 0)}) for place, own in enumerate(hand_written)
    ]
    order: list[str] = []
    bench: Any = SimpleNamespace(
        ways={"head": None},
        ranked=lambda: known,
        context=SimpleNamespace(progress=Progress(enabled=False)),
        cross_validate=lambda one, way: order.append(one.candidate.written),
    )
    _cross_validate(bench, option("search", "rules", finalists=2))
    assert order == ["3", "4", "0", "2", "1"]
    order.clear()  # what an earlier command has tuned comes first only where it is the best zero-shot too
    bench.ways = {"zero_shot": None, "tuned": None}
    known[0].scores["tuned"] = Score(9, 0)
    _cross_validate(bench, option("search", "rules", tuned=1))
    assert order == ["3", "4"]


def test_the_folder_of_a_search_follows_from_its_settings_but_for_its_budget(
    searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for own in ((), ("search.candidates=3",), ("seed=14",)):
        assert searched("template", None, "tuning=zero_shot", *own)[0] == 0
    assert len(list(tmp_path.glob("outputs/search/meals_template_rules-*"))) == 2


def test_a_budget_of_no_time_still_has_the_hand_written(searched: Searched, tmp_path: Path) -> None:
    code, said = searched("template", tmp_path / "found", "search.minutes=1e-9")
    assert code == 2 and "search.minutes" in said and len(said.splitlines()) == 1
    assert [row["name"] for row in read_rows(tmp_path / "found" / "candidates.jsonl")] != []


def test_without_labels_the_information_of_unlabeled_texts_ranks(searched: Searched, tmp_path: Path) -> None:
    code, said = searched("template", tmp_path / "found", "data.shots=0", "search.texts=6")
    assert code == 0, said
    table = [row for row in read_rows(tmp_path / "found" / "candidates.jsonl") if "refused" not in row]
    told = [row["information"] for row in table]
    assert told == sorted(told, reverse=True) and "head" not in table[0] and {row["texts"] for row in table} == {6}


# --- what a run takes of it ---------------------------------------------------------------------------------------


@pytest.fixture
def found(tmp_path: Path) -> Path:
    """A search's folder as `pet search` writes it for the meals."""
    return Path(shutil.copytree(HERE / "found", tmp_path / "found"))


def test_a_run_takes_what_was_found_and_no_longer_needs_its_folder(world: World, found: Path, tmp_path: Path) -> None:
    given = (f"found={found}", "tuning=zero_shot")
    run = world.train(tmp_path / "by id", *given, "pattern=f1", "verbalizer=f0")
    words = "verbalizer={tasty: fresh, bland: [dry, plain]}"
    written = world.train(tmp_path / "in full", "tuning=zero_shot", "template=All {mask}: {text}", words)
    assert (run / "predictions.jsonl").read_bytes() == (written / "predictions.jsonl").read_bytes()
    assert "elsewhere" in " ".join(read(run / "metrics.json")["notes"])
    assert "elsewhere" not in " ".join(read(written / "metrics.json")["notes"])
    shutil.rmtree(found)
    code, said = pet("predict", str(run), "--text", "A soup.")
    assert code == 0 and "predicted" in said


@pytest.mark.slow
def test_a_model_is_the_one_that_was_searched_with_however_its_folder_is_written(
    world: World, found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = world.model("bert")
    told = yaml.safe_load((found / "found.yaml").read_text())
    (found / "found.yaml").write_text(yaml.safe_dump({**told, "model": str(model.resolve())}))
    monkeypatch.chdir(model.parent)
    run = world.train(tmp_path / "run", f"found={found}", "tuning=zero_shot", "pattern=f1", f"model.name={model.name}")
    assert "found=" not in " ".join(read(run / "metrics.json")["notes"])


@pytest.mark.slow
def test_a_sweep_compares_them_with_the_hand_written(world: World, found: Path, tmp_path: Path) -> None:
    code, said = world.attempt(
        None, "-m", f"hydra.sweep.dir={tmp_path / 'sweep'}", f"found={found}", "pattern=p0,f0", "tuning=zero_shot"
    )
    assert code == 0, said
    assert len(list((tmp_path / "sweep").glob("*/metrics.json"))) == 2
    assert f"found={found}" in (tmp_path / "sweep" / "summary.md").read_text(), "a search is known by its folder"


def test_an_ensemble_takes_them(world: World, found: Path, tmp_path: Path) -> None:
    run = world.train(
        tmp_path / "run", f"found={found}", "ensemble=patterns", "ensemble.patterns=[p0,f0]", "tuning=zero_shot"
    )
    assert [member["name"] for member in read(run / "metrics.json")["members"]] == ["p0-v0", "f0-v0"]


def test_they_are_listed_and_shown(world: World, found: Path) -> None:
    code, said = pet("list", "patterns", "meals", f"found={found}", "--config-dir", str(CONF))
    assert code == 0 and said.splitlines() == [
        "p0  {text} It was {mask}.",
        "p1  {mask}! {text:lower}",
        "p2  {text:strip} | All in all, ({mask}).",
        "f0  {text} So {mask}!",
        "f1  All {mask}: {text}",
        "v0  tasty: good, bland: bad",
        "v1  tasty: great, bland: dull",
        "v2  tasty: good / great / lovely, bland: bad / dull / awful",
        "f0  tasty: fresh, bland: dry / plain",
    ]
    model = f"model.name={world.model('bert')}"
    code, said = pet(
        "show", "--config-dir", str(CONF), "task=meals", model, f"found={found}", "pattern=f0", "--text", "Tea"
    )
    assert code == 0 and "so [mask]!" in said.lower()


def test_what_was_found_for_data_of_ones_own_is_listed_whatever_its_fields(tmp_path: Path) -> None:
    own = {"task": "custom", "labels": ["1", "5"], "fields": ["review"], "model": "embedded", "verbalizers": []}
    (tmp_path / "found.yaml").write_text(yaml.safe_dump({**own, "templates": ["{review} So {mask}!"]}))
    code, said = pet("list", "patterns", "custom", f"found={tmp_path}")
    assert code == 0 and said.splitlines()[-1] == "f0  {review} So {mask}!"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("task=pairs", "found={found}", "pattern=f0"), ("found", "task", "meals", "pairs")),
        (("task=meals", "found={found}", "pattern=f2"), ("pattern=f2", "p0", "f0, f1")),
        (("task=meals", "pattern=f0"), ("pattern=f0", "found=FOLDER")),
        (("task=meals", "found={found}/none", "pattern=f0"), ("found=", "none", "found.yaml", "pet search")),
        (("task=meals", "task.labels=[bland,good]", "found={found}"), ("labels", "good", "tasty")),
        (("task=meals", "task.fields={meal: text}", "found={found}", "template={meal} {mask}"), ("fields", "meal")),
    ],
)
def test_what_was_found_for_another_task_is_refused(
    given: tuple[str, ...], words: tuple[str, ...], found: Path
) -> None:
    code, said = pet("train", "--config-dir", str(CONF), *(one.replace("{found}", str(found)) for one in given))
    assert code == 2 and len(said.splitlines()) <= 2, said
    assert all(word in said for word in words), said


def test_words_of_a_search_that_found_templates_alone_are_asked_for_in_vain() -> None:
    found = {**yaml.safe_load((HERE / "found" / "found.yaml").read_text()), "verbalizers": []}
    config = build({"task": "meals"}, {"found": found, "verbalizer": "f0"}, str(CONF))
    with pytest.raises(UserError, match=r"^verbalizer=f0: .*found= has none, pet search verbalizer"):
        resolve.verbalizer_words(config)


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "given", "words"),
    [
        ("templates", (), ("pet search=templates", "Did you mean 'template'")),
        ("template", ("search.by=rule",), ("search=rule", "Did you mean 'rules'")),
        ("template", ("search=rules", "search.by=edits"), ("search.by=edits", "one of them")),
        ("template", ("search.minuets=3",), ("search.minuets", "Did you mean 'search.minutes'")),
        ("template", ("search.minutes=0",), ("search.minutes=0", "above 0")),
        ("template", ("search.folds=1",), ("search.folds=1", "at least 2")),
        ("template", ("search.minutes=1,2",), ("search.minutes=1,2: several values are a sweep",)),
        ("verbalizer", ("search.by=rules",), ("search=rules", "pet search template", "search=lmbff, petal")),
        ("template", ("tuning=classifier",), ("tuning=classifier", "no prompt")),
        ("template", ("method=tfidf",), ("method=tfidf", "no prompt")),
        ("template", ("ensemble=patterns",), ("ensemble=patterns", "one at a time")),
        ("template", ("-m", "seed=1,2"), ("-m", "one search at a time")),
        ("template", ("data.shots=99",), ("data.shots=99", "has only")),
        ("template", ("data.shots=0", "data.unlabeled=file"), ("unlabeled", "data.shots=0")),
    ],
)
def test_a_mistake_is_answered_in_a_line(
    what: str, given: tuple[str, ...], words: tuple[str, ...], searched: Searched, data: Path, tmp_path: Path
) -> None:
    if "data.unlabeled=file" in given:
        (data / "unlabeled.jsonl").unlink()
    code, said = searched(what, tmp_path / "found", *given)
    assert code == 2 and len(said.splitlines()) <= 2, said
    assert all(word in said for word in words), said


def test_it_has_to_be_said_what_is_searched_for() -> None:
    told = "pet: pet search template or pet search verbalizer; pet list searches names the ways."
    assert pet("search") == (2, f"{told}\n")


def test_the_folder_of_something_else_is_left_alone(searched: Searched, tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "mine.txt").write_text("")
    assert "not empty" in searched("template", tmp_path / "found")[1]
    assert searched("template", tmp_path / "other", "search=mining", "search.corpus=none")[0] == 2  # found nothing
    assert searched("template", tmp_path / "other")[0] == 0
    assert "another search" in searched("template", tmp_path / "other", "seed=14")[1]
    (tmp_path / "file").write_text("")
    code, said = searched("template", tmp_path / "file" / "found")
    assert code == 2 and said == f"pet: hydra.run.dir={tmp_path}/file/found: Not a directory.\n"
    assert _folder("'my folder'") == Path("my folder") and _folder("1e5") == Path("1e5")


def test_a_damaged_folder_is_told_of(world: World, tmp_path: Path) -> None:
    bench = bench_of(world, tmp_path)
    with pytest.raises(UserError, match=r"candidates\.jsonl, row 1 is damaged"):
        bench.take([{"written": 1}])
    (tmp_path / LOOKED).write_text("[]")
    with pytest.raises(UserError, match=r"looked\.json is damaged"):
        _claim(tmp_path, "mark")
    bench.path.write_text("[]\n")
    with pytest.raises(UserError, match=r"candidates\.jsonl is damaged"):
        _claim(tmp_path, "mark")


def test_a_search_goes_on_wherever_it_was_killed(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = bench_of(world, tmp_path / "none")
    settings = replace(own.settings, candidates=1)
    monkeypatch.setattr("pet_cli.search.run.Session", lambda **_: own.context.session)
    for writes in ("_write_yaml", "_write_looked"):
        with monkeypatch.context() as patch:
            patch.setattr(f"pet_cli.search.run.{writes}", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run_search("template", own.config, settings, tmp_path / writes)
        run_search("template", own.config, settings, tmp_path / writes)
        assert {"search.yaml", "found.yaml"} <= {path.name for path in (tmp_path / writes).iterdir()}


def test_what_is_known_stands_in_the_order_of_asking(world: World, tmp_path: Path) -> None:
    bench = bench_of(world, tmp_path)
    asked = [Candidate(f"{{text}} {word} {{mask}}.", word) for word in ("hot", "cold", "warm")]
    bench.score(asked)
    bench.write()
    again = Bench(bench.config, bench.settings, bench.looked, bench.context, tmp_path)
    again.take(reversed(read_rows(again.path)))
    again.score(asked)
    assert [one.candidate for one in again.known.values()] == asked


def test_what_a_candidate_is_worth_follows_from_the_seed(world: World, tmp_path: Path) -> None:
    bench = bench_of(world, tmp_path)
    bench.ways["zero_shot"] = replace(bench.config, scoring=option("scoring", "soft", init="random"))
    one, other = (Candidate("{text} So {mask}.", ""), Candidate("{text} Now {mask}.", ""))
    worth = [bench._zero_shot(candidate).scores for candidate in (one, other, one)]
    assert worth[0] == worth[2] != worth[1]


def bench_of(world: World, folder: Path) -> Bench:
    settings = {"model.name": str(world.model("bert")), "data.path": str(DATA / "meals"), "data.shots": 2}
    config = build({"task": "meals", "tuning": "zero_shot"}, {**settings, "device": "cpu"}, str(CONF))
    session = Session(reuse=True)
    looked = Looked(session.to_search(config)["train"], Split("unlabeled", ()))
    return Bench(config, option("search", "rules", minutes=None), looked, Context(session), folder)


def test_unlabeled_texts_are_drawn_wherever_they_stand_in_their_file(world: World, tmp_path: Path) -> None:
    bench = bench_of(world, tmp_path)
    texts = Split("unlabeled", tuple(Example(row, {"text": f"{row}"}, None) for row in range(400)))
    bench.looked = Looked(Split("train", ()), texts)
    kpt = Kpt("verbalizer", bench.config, option("search", "kpt", support=20), bench.looked, bench)
    for drawn in (bench.texts, kpt.texts):
        assert max(example.row for example in drawn.examples) > 300 and len(drawn) in (20, bench.settings.texts)


def test_a_template_of_other_fields_is_no_mark_and_brackets_are_shown() -> None:
    own = replace(MEALS, task=replace(MEALS.task, fields={"review": "text"}), template="[ {mask} ] {review}")
    marks = list(hand_written("template", own))
    assert [mark.origin for mark in marks] == ["template", "p0", "p1", "p2"]
    with pytest.raises(UserError, match="no field 'text'"):
        marks[1].key(own)
    assert _line("f0", Scored(marks[0])) == "f0  [ {mask} ] {review}"


# --- scores -------------------------------------------------------------------------------------------------------


def test_folds_are_at_most_as_many_as_the_rarest_label_has_examples() -> None:
    def split(*gold: int) -> Split:
        return Split("train", tuple(Example(row, {"text": f"{row}"}, label) for row, label in enumerate(gold)))

    gold = (0, 0, 0, 0, 1, 1)
    assert [sorted(gold[place] for place in own) for own in scores.folds(MEALS, split(*gold), 4)] == [[0, 0, 1]] * 2
    assert scores.folds(MEALS, split(0, 0, 0, 1), 4) == []


def test_nothing_held_out_is_learned_from(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"model.name": str(world.model("bert")), "data.path": str(DATA / "meals"), "trainer.max_steps": 1}
    config = build({"task": "meals", "tuning": "head"}, {**settings, "data.shots": 4, "device": "cpu"}, str(CONF))
    session = Session(reuse=True)
    split = session.to_search(config)["train"]
    learned: list[list[list[int]]] = []
    train = scores.train
    weights: list[Any] = []

    def noted(learner: Any, data: Any, targets: Any, how: Any, class_weight: Any) -> Any:
        learned.append(data.prompts)
        weights.append(class_weight)
        return train(learner, data, targets, how, class_weight=class_weight)

    monkeypatch.setattr(scores, "train", noted)
    parts = scores.folds(config, split, 4)
    score, steps = scores.cross_validated(config, session, split, parts)
    prompts = session.memo.get(next(key for key in session.memo._entries if key[0] == "prompts"), list)  # type: ignore
    for held, seen in zip(parts, learned, strict=True):
        assert [prompt for place, prompt in enumerate(prompts) if place not in held] == seen
    assert steps == 4 and 0 <= score.score <= 1 and score.loss > 0
    assert weights == [None] * 4
    balanced = replace(config, trainer=replace(config.trainer, class_weights="balanced"))
    scores.cross_validated(balanced, session, split, [[0], list(range(1, len(split)))])
    counts = Counter(split.gold[1:])
    assert weights[4].tolist() == pytest.approx([(len(split) - 1) / (2 * counts[label]) for label in (0, 1)])


def test_cross_validation_follows_from_the_seed_and_gives_the_model_back(world: World) -> None:
    settings = {"model.name": str(world.model("bert")), "data.path": str(DATA / "meals"), "trainer.max_steps": 2}
    for tuning, scoring in (("full", "words"), ("soft_prompt", "words"), ("head", "soft")):
        settings |= {"scoring.init": "random"} if scoring == "soft" else {}
        chosen = {"task": "meals", "tuning": tuning, "scoring": scoring}
        config = build(chosen, {**settings, "data.shots": 2, "device": "cpu"}, str(CONF))
        session = Session(reuse=True)
        lm, split = session.language_model(config), session.to_search(config)["train"]
        before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
        parts = scores.folds(config, split, 2)
        torch.manual_seed(1)
        first = scores.cross_validated(config, session, split, parts)
        assert all(torch.equal(tensor, before[name]) for name, tensor in lm.model.state_dict().items())
        torch.manual_seed(2)  # whatever was drawn before
        assert scores.cross_validated(config, session, split, parts) == first


def test_a_share_of_the_minutes_is_all_that_is_spent_before_the_rest(world: World, tmp_path: Path) -> None:
    settings = {"model.name": str(world.model("bert")), "data.path": str(DATA / "meals"), "data.shots": 2}
    config = build({"task": "meals", "tuning": "zero_shot"}, {**settings, "device": "cpu"}, str(CONF))
    session = Session(reuse=True)
    looked = Looked(session.to_search(config)["train"], Split("unlabeled", ()))
    bench = Bench(config, option("search", "rules", minutes=2), looked, Context(session), tmp_path)
    assert bench.seconds == 120
    bench.share(0.25)
    assert bench.seconds == 30


# --- rules --------------------------------------------------------------------------------------------------------


def ruled(config: PetConfig, texts: tuple[str, ...] = ("Fine.",)) -> list[str]:
    """What the rules write for a task whose texts are these."""
    fields = list(config.task.fields)
    split = Split("train", tuple(Example(row, dict.fromkeys(fields, text), 0) for row, text in enumerate(texts)))
    looked = Looked(split, Split("unlabeled", ()))
    bench: Any = None
    return [line for line, _ in Rules("template", config, option("search", "rules"), looked, bench).lines()]


def test_rules_write_in_the_tasks_language_of_its_fields_and_words() -> None:
    meals = MEALS
    lines = ruled(meals)
    assert "{text} All in all, it was {mask}." in lines and "Text: {text} Label: {mask}." in lines
    assert "{text} Is it good or bad? It is {mask}." in lines and not any("Answer" in line for line in lines)
    assert "{text} Answer: {mask}." in ruled(meals, ("Who?", "When?", "No."))
    german = replace(meals, task=replace(meals.task, language="de"))
    assert "{text} Es war {mask}." in ruled(german) and not any("It was" in line for line in ruled(german))
    chinese = replace(meals, task=replace(meals.task, language="zh"))
    assert "{text}总的来说，{mask}。" in ruled(chinese)
    other = replace(meals, task=replace(meals.task, language="sw"))
    assert "{text} ({mask})" in ruled(other) and not any("was" in line for line in ruled(other))
    braced = replace(meals, verbalizer={"tasty": "{}", "bland": "bad"})
    assert "{text} Is it {{}} or bad? It is {mask}." in ruled(braced)


def test_rules_join_two_texts_by_the_word_where_the_words_judge() -> None:
    pairs = PAIRS
    lines = ruled(pairs)
    assert lines[0] == "{first:strip}? {mask}, {second:lower}" and "{first} {mask}. {second}" in lines
    assert not any("It was" in line for line in lines)
    turned = replace(pairs, task=replace(pairs.task, fields={"b": "first", "a": "claim"}))
    assert ruled(turned)[0] == "{b:strip}? {mask}, {a:lower}"
    topical = replace(pairs, verbalizer={"same": "world", "other": "sports", "unclear": "business"})
    assert "{mask} news: {first} {second}" in ruled(topical)


def test_every_line_of_the_rules_is_a_template() -> None:
    for config in (MEALS, PAIRS):
        for language in ("en", "de", "fr", "zh", "sw"):
            own = replace(config, task=replace(config.task, language=language))
            keys = [Candidate(line, "").key(own) for line in ruled(own, ("Who?",))]
            assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", registry.SEARCHES)
def test_a_search_is_listed(name: str) -> None:
    assert name in pet("list", "searches")[1]


# --- mining -------------------------------------------------------------------------------------------------------


def mined(text: str, word: str, longest: int = 2) -> set[tuple[str, str, bool]]:
    """The contexts of the only place of a word in a text."""
    start = text.index(word)
    found = contexts(text, start, start + len(word), longest)
    return {(one.left, one.right, one.place == "behind") for one in found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We ate soup. It was good!", {("was ", "!", True), ("It was ", "!", True)}),  # the text goes before
        ("It was good. We shall come again.", {("It was ", ".", False)}),  # it follows
        ("Hot soup and it was good", {("was ", ".", True), ("it was ", ".", True)}),  # no stop: as if it were there
        ("The soup was good enough for two of us.", set()),  # the sentence goes on
        ("good! We had pie.", {("", "!", False)}),
        ("We had pie. good!", {("", "!", True)}),
        ("It was good.", set()),  # there is no text that it belongs to
        ("We had pie.  Really   good .", {("Really ", " .", True)}),  # spaces are one
    ],
)
def test_the_contexts_of_a_label_word_by_hand(text: str, expected: set[tuple[str, str, bool]]) -> None:
    assert mined(text, "good") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Is the soup cold? No, we had it hot.", "{first:strip}? {mask}, {second:lower}"),
        ("We had the pie . Well , no . It was gone .", "{first:strip}. Well , {mask} . {second}"),
        ("Is the soup cold? There is no soup here.", None),  # no mark behind the word
        ("Is the soup cold? No, really.", None),  # no text behind it
        ("No, we had the soup hot.", None),  # none before it
        ("The soup was cold. We all said loudly no, we want another.", None),  # too many words before it
    ],
)
def test_a_word_between_two_sentences_joins_two_texts(text: str, expected: str | None) -> None:
    mining = Mining.__new__(Mining)
    mining.config = PAIRS
    start = text.lower().index("no")
    assert [mining.template(one) for one in joints(text, start, start + 2, 2)] == ([expected] if expected else [])


def test_contexts_of_words_of_all_labels_come_first(searched: Searched, data: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    shared = ["The soup came late. It tasted good.", "The tea was cold. It tasted bad."] * 2
    shared += ["The tea was cold. it tasted bad."] * 2
    of_one = ["A pie. We call that good.", "Rice. We call that great."] * 9
    (corpus / "one.txt").write_text("\n".join(of_one))
    with gzip.open(corpus / "two.txt.gz", "wt") as file:
        file.write("\n".join(shared))
    (corpus / "left.pdf").write_text("It is good.")
    code, said = searched(
        *("template", tmp_path / "found", "search=mining", f"search.corpus={corpus}", "search.longest=3"),
        "search.contexts=1",
    )
    assert code == 0, said
    found = {row["written"]: row["origin"] for row in read_rows(tmp_path / "found" / "candidates.jsonl")}
    assert found["{text} It tasted {mask}."] == "mined, 6 times" and not any("call" in one for one in found)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("search.corpus=none",), ("search.corpus=none", "no such folder")),
        (("search.corpus={data}",), ("search.corpus=", "*.txt")),
        (("search.corpus={data}/of one label",), ("tasty", "bland", "search.corpus=FOLDER")),
        (("search.corpus={data}/damaged",), ("a.txt.gz", "cannot be read")),
        (("data.unlabeled=file",), ("search.corpus", "unlabeled")),
        (("search=rules", "search.corpus=none"), ("search.corpus", "search=mining")),
    ],
)
def test_mining_says_what_it_lacks(
    given: tuple[str, ...], words: tuple[str, ...], searched: Searched, data: Path, tmp_path: Path
) -> None:
    (data / "unlabeled.jsonl").unlink()
    (data / "of one label").mkdir()
    (data / "of one label" / "a.txt").write_text("We had some rice. We call that good.")
    (data / "damaged").mkdir()
    (data / "damaged" / "a.txt.gz").write_bytes(gzip.compress(b"", mtime=0)[:10] + b"\x07damaged")
    own = (one.replace("{data}", str(data)) for one in given)
    code, said = searched("template", tmp_path / "found", "search=mining", *own)
    assert code == 2 and len(said.splitlines()) == 1 and all(word in said for word in words), said


@pytest.mark.parametrize(
    ("language", "words", "text", "found"),
    [
        ("tr", ("iyi", "kötü"), "We had the pie. İyi!", {0}),
        ("tr", ("sinir", "kötü"), "We had the pie. It was sınır.", {0}),  # ı is i where case does not count
        ("en", ("good", "bad"), "We had the pie. It was GOOD.", {0}),
        ("ru", ("да", "нет"), "We had the pie. It was когда.", set()),  # inside of another word
        ("zh", ("好", "坏"), "我们都吃了饭。很好。", {0}),
        ("zh", ("OK", "坏"), "我们都吃了饭。很OKAY。", set()),
    ],
)
def test_words_are_found_in_any_writing(language: str, words: tuple[str, str], text: str, found: set[int]) -> None:
    mining = Mining.__new__(Mining)
    task = replace(MEALS.task, language=language, verbalizers=[])
    mining.config = replace(MEALS, task=task, verbalizer=dict(zip(("tasty", "bland"), words, strict=True)))
    mining.settings = option("search", "mining")
    mining.bench = SimpleNamespace(context=Context(Session()), left=1, seconds=1)  # type: ignore[assignment]
    assert {label for own in mining.count([text]).values() for label in own} == found


# --- edits --------------------------------------------------------------------------------------------------------


def test_edits_go_on_from_what_was_better_and_tell_which_they_were(searched: Searched, tmp_path: Path) -> None:
    given = ("search=edits", "search.candidates=null", "search.samples=6", "search.steps=3", "search.patience=9")
    code, said = searched("template", tmp_path / "found", *given, "search.width=1", "tuning=zero_shot")
    assert code == 0, said
    table = [row for row in read_rows(tmp_path / "found" / "candidates.jsonl") if "refused" not in row]
    worth = {row["written"]: (row["zero_shot"], -row["zero_shot_loss"]) for row in table}
    best = "{text} It was {mask}."
    for step in range(1, 4):  # greedy: each step edits the best so far, so each template shares most with it
        tried = [row["written"] for row in table if row["origin"].endswith(f"step {step}")]
        assert tried and all(shared(best, one) for one in tried)
        best = max([best, *tried], key=worth.__getitem__)
    operations = {row["origin"].partition(",")[0] for row in table if "step" in row["origin"]}
    assert operations == {"delete", "swap", "substitute", "add"}


def shared(template: str, other: str) -> bool:
    """Whether two templates differ by one phrase at most, or by the order of phrases."""
    one, two = (Counter(re.findall(r"\{\w+\}|\w+|[^\w\s]", line)) for line in (template, other))
    return ((one - two) + (two - one)).total() <= 3


@pytest.mark.slow
def test_an_interrupted_search_by_edits_goes_the_same_way(
    searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("search=edits", "search.candidates=null", "search.samples=5", "search.steps=2", "search.finalists=4")
    assert searched("template", tmp_path / "at once", *given)[0] == 0
    assert searched("template", tmp_path / "in parts", *given, "search.steps=1")[0] == 0
    assert searched("template", tmp_path / "in parts", *given)[0] == 0
    whole, parts = (
        {row["written"]: row["origin"] for row in read_rows(tmp_path / name / "candidates.jsonl")}
        for name in ("at once", "in parts")
    )
    assert whole == parts


def test_without_an_end_edits_want_a_budget(searched: Searched, tmp_path: Path) -> None:
    code, said = searched("template", tmp_path / "found", "search=edits", "search.steps=null")
    assert code == 2 and "search.minutes" in said and "search.steps" in said and len(said.splitlines()) == 1


def test_the_words_filled_in_are_the_likeliest_of_all_examples(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_TOGETHER", 1)  # the vocabulary of one text at a time
    settings = {"model.name": str(world.model("bert")), "data.path": str(DATA / "meals"), "data.shots": 2}
    config = build({"task": "meals", "tuning": "zero_shot"}, {**settings, "device": "cpu"}, str(CONF))
    session = Session(reuse=True)
    split = session.to_search(config)["train"]
    looked, own = Looked(split, Split("unlabeled", ())), option("search", "edits", fill=3)
    edits = Edits("template", config, own, looked, Bench(config, own, looked, Context(session), tmp_path))
    some = phrases.atoms(Template.parse("{text} It was {mask}."))
    lm = session.language_model(config)
    total = torch.zeros(len(lm.tokenizer))
    with torch.no_grad():
        for example in split.examples:  # one by one, through the model as transformers has it
            word = ["good", "bad"][example.gold]  # type: ignore[index]
            inputs = lm.tokenizer(f"{example.fields['text']} It [MASK] {word}.", return_tensors="pt")
            place = inputs["input_ids"][0].tolist().index(lm.tokenizer.mask_token_id)
            total += lm.model(**inputs).logits[0, place].log_softmax(-1)
    names = lm.tokenizer.convert_ids_to_tokens(total.topk(24).indices.tolist())
    whole = [name for name in names if name.isalpha() and name not in ("good", "bad")]
    assert edits.filling is not None and edits.filling.likely(some, 2, 3, 3) == whole[:3] and len(whole) >= 3


def test_of_numbers_and_several_labels_each_text_reads_its_own_word() -> None:
    numbers = build({"task": "degrees"}, {}, str(CONF))
    dishes = build({"task": "dishes"}, {}, str(CONF))
    for config, gold, expected in (
        (numbers, (9.0, 1.0, 2.0), [[1, 2], [0]]),
        (dishes, ((0, 2), (), (2,)), [[0], [], [0, 2]]),
        (MEALS, (None, None, None), [[0, 2], [1]]),
    ):
        own = Filling.__new__(Filling)
        own.config, own.words = config, resolve.verbalizer_words(config)
        texts = Split("train", tuple(Example(row, {"text": f"{row}"}, own) for row, own in enumerate(gold)))
        own.bench = SimpleNamespace(texts=texts)  # type: ignore[assignment]
        assert [[int(row["text"]) for row in rows] for rows in own._rows] == expected


def test_a_word_is_filled_in_as_it_is_spelled_at_its_place(model_of: Callable[[str], MaskedLM]) -> None:
    own = Filling.__new__(Filling)
    own.lm, own.words = model_of("roberta"), {}
    glued, spaced = (word_ids(own.lm.tokenizer, "good", space)[0] for space in (False, True))
    for line, token in (("{mask}: {text}", glued), ("{text}({mask})", glued), ("{text} {mask}.", spaced)):
        assert own._as_words([glued, spaced], Template.parse(line)) == ["good"]
        assert own._as_words([token], Template.parse(line)) == ["good"]
