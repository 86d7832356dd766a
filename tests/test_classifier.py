"""The notebook's classifier: the same configs and code as the command line, and an estimator of scikit-learn's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from pet_cli import PromptClassifier
from pet_cli.commands.cli import main
from pet_cli.errors import UserError

WORDS = {"pos": "great", "neg": "terrible"}
"""Not in the order of the alphabet, so that sorted labels would show."""

TEXTS = ["good fun", "dull stuff", "a joy", "a bore"] * 2
LABELS = ["pos", "neg", "pos", "neg"] * 2
STEPS = {"trainer.max_steps": 20}


def classifier(verbalizer: Any = WORDS, **options: Any) -> PromptClassifier:
    return PromptClassifier(
        **{"template": "{text} It was {mask}.", "verbalizer": verbalizer, "model": "random", "settings": STEPS}
        | {"device": "cpu"}
        | options
    )


def test_fit_predict_save_load(tmp_path: Path) -> None:
    own = classifier(settings={"trainer.max_steps": 40})
    probabilities = own.fit(TEXTS, LABELS).predict_proba(TEXTS)
    assert probabilities.shape == (8, 2) and probabilities.sum(axis=1) == pytest.approx(1)
    assert list(own.classes_) == ["neg", "pos"]
    assert own.predict(TEXTS) == LABELS and own.score(TEXTS, LABELS) == 1.0
    assert (probabilities[:, 1] > 0.5).tolist() == [label == "pos" for label in LABELS]
    own.save(tmp_path / "own")
    again = PromptClassifier.load(tmp_path / "own")
    assert np.array_equal(again.predict_proba(TEXTS), probabilities) and again.predict(TEXTS) == LABELS
    assert own.fit(TEXTS, LABELS).predict_proba(TEXTS) == pytest.approx(probabilities, abs=1e-6)
    assert again.fit(TEXTS, LABELS).predict_proba(TEXTS) == pytest.approx(probabilities, abs=1e-6)


def test_the_command_line_reads_what_a_notebook_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = classifier(tuning="head").fit(TEXTS, LABELS)
    own.save(tmp_path / "own")
    assert main(["predict", str(tmp_path / "own"), "--text", "good fun"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert list(row["probabilities"]) == ["pos", "neg"] and row["predicted"] == own.predict(["good fun"])[0]
    assert [row["probabilities"][label] for label in own.classes_] == pytest.approx(
        own.predict_proba(["good fun"])[0], rel=1e-5
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ("tuning=head",),
        ("method=tfidf",),
        ("ensemble=patterns", "ensemble.patterns=[p0,p1]", "tuning=zero_shot"),
        ("ensemble=pet_small", "ensemble.patterns=[p0,p1]", "ensemble.student_steps=3", "data.max_unlabeled=8"),
    ],
)
def test_a_notebook_loads_any_finished_run(overrides: tuple[str, ...], tmp_path: Path) -> None:
    small = ("model=random", "trainer.max_steps=3", "data.shots=4", "data.max_test=8", f"hydra.run.dir={tmp_path}/run")
    assert main(["train", *small, *overrides]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    data = Path(main.__code__.co_filename).parent.parent / "embedded" / "reviews" / "test.jsonl"
    texts = [json.loads(line)["text"] for line in data.read_text(encoding="utf-8").splitlines()]
    own = PromptClassifier.load(tmp_path / "run")
    chosen = [texts[row["row"]] for row in rows]
    assert own.predict(chosen) == [row["predicted"] for row in rows]
    own.save(tmp_path / "copy")
    assert np.array_equal(PromptClassifier.load(tmp_path / "copy").predict_proba(chosen), own.predict_proba(chosen))
    again = clone(own)
    assert again.get_params() == own.get_params() and not hasattr(again, "classes_")


def test_zero_shot_needs_no_fit() -> None:
    own = classifier(template="{title} {body} It was {mask}.", tuning="zero_shot")
    assert own.predict([{"title": "A", "body": "b"}])[0] in WORDS
    assert own.predict_proba([]).shape == (0, 2)
    table = pd.DataFrame({"body": ["b", "d"], "title": ["A", None], "more": [1, 2]})
    rows = [{"title": "A", "body": "b"}, {"title": "", "body": "d"}]
    assert np.array_equal(own.predict_proba(table), own.predict_proba(rows))
    assert np.ptp(own.predict_proba(rows)[:, 0]) > 0
    shows = classifier(tuning="zero_shot", settings={"demonstrations.per_label": 1})  # what it shows comes with fit
    with pytest.raises(UserError, match="before fit"):
        shows.predict(["a"])


def test_words_in_another_order_than_a_tasks_labels_say_the_same() -> None:
    words = {"positive": "great", "negative": "terrible"}  # the task's labels stand the other way round
    one, other = (
        PromptClassifier(task="sst2", verbalizer=own, model="random", tuning="zero_shot", device="cpu")
        for own in (words, dict(reversed(words.items())))
    )
    assert one.predict(TEXTS) == other.predict(TEXTS)
    assert np.array_equal(one.predict_proba(TEXTS), other.predict_proba(TEXTS))


NATIVE: list[tuple[Any, Any, type]] = [
    ({1: "great", 0: "terrible"}, [1, 0, 1, 0] * 2, int),
    ({True: "great", False: "terrible"}, [True, False, True, False] * 2, bool),
    ({"1": "great", "0": "terrible"}, [1, 0, 1, 0] * 2, int),
    ({"good film": "great", "Bad film": "terrible"}, ["good film", "Bad film"] * 4, str),
    ({1: "great", 0: "terrible"}, pd.Series([1, 0] * 4, index=range(8, 16)), int),
]


@pytest.mark.parametrize(("words", "labels", "kind"), NATIVE)
def test_labels_come_back_as_they_went_in(words: Any, labels: Any, kind: type, tmp_path: Path) -> None:
    own = classifier(words, settings={"trainer.max_steps": 40}).fit(pd.Series(TEXTS), labels)
    own.save(tmp_path / "own")
    for one in (own, PromptClassifier.load(tmp_path / "own")):
        got = one.predict(np.array(TEXTS))
        assert list(got) == list(labels)
        if isinstance(labels, list):
            assert {type(label) for label in got} == {kind}
        else:
            assert got.dtype == labels.dtype
        assert one.classes_.tolist() == sorted(set(labels))
        assert [one.classes_[best] for best in one.predict_proba(TEXTS).argmax(axis=1)] == list(labels)


def test_arrays_give_arrays(tmp_path: Path) -> None:
    labels = np.array([7, 3] * 4, dtype=np.int16)
    own = classifier({7: "great", 3: "terrible"}, tuning="head").fit(np.array(TEXTS)[:, None], labels)
    own.save(tmp_path / "own")
    for one in (own, PromptClassifier.load(tmp_path / "own")):
        assert one.predict(TEXTS).dtype == np.int16 and one.classes_.tolist() == [3, 7]


def test_features_need_neither_template_nor_words(tmp_path: Path) -> None:
    own = PromptClassifier(method="tfidf").fit(TEXTS, [5, 1, 5, 1] * 2)
    assert own.predict(["good fun", "a bore"]) == [5, 1] and own.classes_.tolist() == [1, 5]
    pairs = [{"one": text, "two": "more"} for text in TEXTS]
    assert PromptClassifier(method="tfidf").fit(pairs, LABELS).predict(pairs) == LABELS
    own.save(tmp_path / "own")
    assert PromptClassifier.load(tmp_path / "own").predict(["good fun"]) == [5]
    assert not (tmp_path / "own" / "model").exists()


def test_a_task_by_name_brings_its_prompt_and_labels() -> None:
    own = PromptClassifier(task="sst2", model="random", tuning="head", settings={**STEPS, "data.dev_shots": 1})
    own.fit([{"sentence": text} for text in TEXTS], [1, 0] * 4)
    assert own.config_.task.name == "sst2" and own.classes_.tolist() == [0, 1]
    assert own.predict([{"sentence": "good fun"}])[0] in (0, 1)
    assert own.fit(TEXTS, ["positive", "negative"] * 4).classes_.tolist() == ["negative", "positive"]


def test_any_key_of_the_command_line() -> None:
    own = classifier(tuning="lora", settings={"trainer.max_steps": 2, "tuning.rank": 2, "scoring.combine": "max"})
    config = own.fit(TEXTS, LABELS).config_
    assert (config.trainer.max_steps, config.tuning.rank, config.scoring.combine) == (2, 2, "max")
    old = classifier(trainer={"max_steps": 2}, tuning="lora", tuning_options={"rank": 2}, combine="max", settings=None)
    assert np.array_equal(old.fit(TEXTS, LABELS).predict_proba(TEXTS), own.predict_proba(TEXTS))


def test_ensembles_and_pet() -> None:
    some = {"trainer.max_steps": 3, "ensemble.patterns": ["{text} It was {mask}.", "{mask}: {text}"]}
    own = classifier(ensemble="patterns", settings=some).fit(TEXTS, LABELS)
    alone = [
        classifier(template=template, settings={"trainer.max_steps": 3}).fit(TEXTS, LABELS).predict_proba(TEXTS)
        for template in some["ensemble.patterns"]
    ]
    assert own.predict_proba(TEXTS) == pytest.approx(np.mean(alone, axis=0), abs=1e-5)
    student = {"ensemble.student": [some["ensemble.patterns"][0], WORDS], "ensemble.student_steps": 3}
    pet = classifier(ensemble="pet_small", settings={**some, **student})
    with pytest.raises(UserError, match="unlabeled"):
        pet.fit(TEXTS, LABELS)
    assert pet.fit(TEXTS, LABELS, unlabeled=["fun", "boring", "", "quite good"]).predict_proba(TEXTS).shape == (8, 2)


def test_scikit_learn_clones_validates_and_searches() -> None:
    own = classifier(settings={"trainer.max_steps": 5})
    again = clone(own)
    assert again.get_params() == own.get_params() and again is not own
    assert again.settings == own.settings and again.verbalizer == WORDS
    scores = cross_val_score(classifier(method="tfidf", verbalizer=None, template=None), TEXTS, LABELS, cv=2)
    assert scores.shape == (2,) and np.isfinite(scores).all()
    search = GridSearchCV(own, {"tuning": ["zero_shot", "head"]}, cv=2, error_score="raise")
    search.fit(TEXTS, LABELS)
    assert search.best_params_["tuning"] in ("zero_shot", "head") and len(search.predict(TEXTS)) == 8
    words = {1: "great", 0: "terrible"}
    own = PromptClassifier(verbalizer=words, model="random", settings={"trainer.max_steps": 40})
    ranked = cross_val_score(own, np.array(TEXTS), np.array([1, 0] * 4), cv=2, scoring="roc_auc")
    assert (ranked == 1.0).all()


def test_one_saved_over_another_leaves_nothing_of_it(tmp_path: Path) -> None:
    classifier().fit(TEXTS, LABELS).save(tmp_path / "own")
    (tmp_path / "own" / "notes.txt").write_text("mine")
    assert (tmp_path / "own" / "model").is_dir()
    head = classifier(tuning="head").fit(TEXTS, LABELS)
    head.save(tmp_path / "own")
    assert not (tmp_path / "own" / "model").exists() and (tmp_path / "own" / "notes.txt").read_text() == "mine"
    again = PromptClassifier.load(tmp_path / "own")
    assert np.array_equal(again.predict_proba(TEXTS), head.predict_proba(TEXTS))
    again.save(tmp_path / "own")
    assert np.array_equal(PromptClassifier.load(tmp_path / "own").predict_proba(TEXTS), head.predict_proba(TEXTS))


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"template": "{text}"}, "mask"),
    ({"template": 5}, "template=5"),
    ({"tuning": "fulll"}, "Did you mean 'full'"),
    ({"tuning": None}, "tuning"),
    ({"ensemble": "pett"}, "ensemble=pett"),
    ({"method": "bert"}, "method=bert"),
    ({"task": "sst3"}, "sst5"),
    ({"model": 3}, "model=3"),
    ({"settings": {"task.target": "number", "task.range": [0, 5], "task.metrics": ["pearson"]}}, "single label"),
    ({"verbalizer": ["great", "terrible"]}, "verbalizer"),
    ({"verbalizer": {1: "great", "1": "terrible"}}, "alike"),
    ({"seed": "many"}, "seed"),
    ({"device": "gpu"}, "device"),
    ({"combine": "average"}, "scoring.combine"),
    ({"settings": ["trainer.max_steps"]}, "settings"),
    ({"settings": {"trainer.max_stepz": 4}}, "trainer.max_steps"),
    ({"settings": {"trainer.max_steps": "four"}}, "trainer.max_steps"),
    ({"settings": {"nonsense": 4}}, "nonsense"),
    ({"trainer": {"batch_size": 0}}, "trainer.batch_size"),
    ({"tuning_options": {"rank": 4}}, "rank"),
]


@pytest.mark.parametrize(("options", "said"), MISTAKES)
def test_mistakes_are_told_in_the_words_of_the_command_line(options: dict[str, Any], said: str) -> None:
    own = classifier(**options)  # nothing is looked at before fit
    with pytest.raises(UserError, match=said) as told:
        own.fit(TEXTS, LABELS)
    assert len(str(told.value).splitlines()) == 1


def test_mistakes_in_texts_and_labels(tmp_path: Path) -> None:
    own = classifier()
    for call, said in (
        (lambda: own.predict(["a"]), "before fit"),
        (lambda: own.save(tmp_path / "x"), "before fit"),
        (lambda: own.fit(["a"], ["x"]), "'x'"),
        (lambda: own.fit(["a"], ["neg", "pos"]), "1 texts but 2 labels"),
        (lambda: classifier(tuning="zero_shot").score(["a"], ["neg", "pos"]), "1 texts but 2 labels"),
        (lambda: own.fit([], []), "no examples"),
        (lambda: own.fit("a text", ["pos"]), "a list is needed"),
        (lambda: own.fit([["a", "b"]], ["pos"]), "number 0"),
        (lambda: own.fit([{"title": "a"}], ["pos"]), "text"),
        (lambda: own.fit([None], ["pos"]), "no example"),
        (lambda: PromptClassifier.load(tmp_path / "nowhere"), "no such folder"),
    ):
        with pytest.raises(UserError, match=said), pytest.warns() if said == "no example" else _quiet():
            call()
    assert not list(tmp_path.iterdir())


def test_examples_without_text_or_label_are_left_out_and_told() -> None:
    own = classifier(method="tfidf", template=None, verbalizer=None)
    with pytest.warns(UserWarning, match="2 of 10"):
        own.fit([*TEXTS, float("nan"), "good"], [*LABELS, "pos", None])
    assert np.array_equal(own.predict_proba(TEXTS), clone(own).fit(TEXTS, LABELS).predict_proba(TEXTS))


def _quiet() -> Any:
    import contextlib

    return contextlib.nullcontext()
