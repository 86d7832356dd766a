"""`method=tfidf`: n-grams with a linear model through everything that a run goes through, without a language model."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pet_cli import methods
from pet_cli.commands.cli import main
from pet_cli.commands.compose import compose
from pet_cli.data.examples import Example, Split
from pet_cli.methods.tfidf import TfidfMethod
from pet_cli.runs import store

SUBJECTS = ("soup", "bread", "tea", "pie", "rice", "cake")


def split(name: str, *labeled: tuple[str, int], **more: Any) -> Split:
    return Split(name, tuple(Example(i, {"text": text, **more}, label) for i, (text, label) in enumerate(labeled)))


def fitted(train: Split, *overrides: str) -> TfidfMethod:
    method = methods.build(compose(["method=tfidf", "task=topics", *overrides]))
    assert isinstance(method, TfidfMethod)
    method.fit({"train": train})
    return method


TRAIN = split(
    "train", *((f"the {one} {word}", label) for one in SUBJECTS for label, word in enumerate(("ran", "sang")))
)


def test_what_tells_the_labels_apart_is_learned() -> None:
    method = fitted(TRAIN)
    seen = store.softmax(method.predict(Split.passing([{"text": "the bird sang"}, {"text": "the horse ran"}])))
    assert seen.argmax(axis=1).tolist() == [1, 0] and (seen[:, 2:] < 1e-9).all()
    assert seen.sum(axis=1) == pytest.approx(1)


def test_scores_are_those_of_logistic_regression_on_the_same_features() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    three = split("train", *((f"{one} {word}", i) for one in SUBJECTS for i, word in enumerate(("red", "old", "wet"))))
    method = fitted(three, "method.strengths=[2.0]", "method.characters=null", "method.words=[1,1]")
    texts = [row["text"] for row in three.rows]
    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(texts)
    model = LogisticRegression(C=2.0, max_iter=1000).fit(vectors.transform(texts), three.gold)
    new = ["a red pie", "old wet tea"]
    ours = store.softmax(method.predict(Split.passing([{"text": text} for text in new])))[:, :3]
    np.testing.assert_allclose(ours, model.predict_proba(vectors.transform(new)), atol=1e-9)


@pytest.mark.parametrize(("n", "folds", "strength"), [(6, 5, None), (3, 3, None), (1, 0, 7.0)])
def test_regularisation_is_chosen_on_examples_held_out(n: int, folds: int, strength: float | None) -> None:
    few = split("train", *((e.fields["text"], e.gold or 0) for e in TRAIN.examples[: 2 * n]))
    method = fitted(few, "method.strength=7")
    told = method.facts()
    assert told["folds"] == folds
    assert told["strength"] == strength if strength else told["strength"] in (0.1, 1, 10, 100, 1000)


def test_labels_of_noise_are_held_back_and_labels_of_words_are_not() -> None:
    """Where the texts tell nothing, the strongest regularisation loses least."""
    draw = random.Random(3)
    pairs = [f"{one} {other}" for one, other in itertools.combinations(SUBJECTS, 2)]
    noise = split("train", *((text, draw.randrange(2)) for text in pairs))
    assert fitted(noise, "method.characters=null", "method.words=[1,1]").facts()["strength"] == 0.1
    assert fitted(TRAIN).facts()["strength"] == 1000


@pytest.mark.parametrize("seed", range(4))
def test_texts_of_signs_alone_leave_a_part_without_words_and_no_more(seed: int) -> None:
    few = split("train", ("!!", 0), ("good", 0), ("??", 1), ("bad", 1))
    method = fitted(few, "method.characters=null", f"trainer.seed={seed}")
    told = store.softmax(method.predict(Split.passing([{"text": "good"}, {"text": "bad"}])))
    assert method.facts()["folds"] == 2 and told.argmax(axis=1).tolist() == [0, 1]


def test_words_whose_signs_combine_stay_whole() -> None:
    method = fitted(split("train", ("अच्छी फ़िल्म", 0), ("बुरी", 1)), "method.characters=null", "method.words=[1,1]")
    assert set(method.vectorizers["text/words"].vocabulary_) == {"अच्छी", "फ़िल्म", "बुरी"}


def test_fields_are_features_of_their_own() -> None:
    config = compose(["method=tfidf", "task=ag_news", "data.path=."])
    method = methods.build(config)
    rows = [({"title": a, "description": b}, i % 2) for i, (a, b) in enumerate([("x y", "y z"), ("y z", "x y")] * 3)]
    method.fit({"train": Split("train", tuple(Example(i, row, label) for i, (row, label) in enumerate(rows)))})
    told = method.predict(Split.passing([rows[0][0], rows[1][0]]))[:, :2].argmax(axis=1)
    assert told.tolist() == [0, 1]  # the same words, in other fields


def test_only_one_label_is_still_an_answer() -> None:
    method = fitted(split("train", ("the only text", 2)))
    assert store.softmax(method.predict(Split.passing([{"text": "another"}]))).argmax() == 2


def test_a_run_writes_what_every_run_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "method=tfidf", "data.shots=8"]) == 0
    (folder,) = [path for path in (tmp_path / "outputs").glob("*/*") if path.is_dir()]
    assert folder.name.endswith("_reviews_tfidf")
    names = {"account.json", "config.yaml", "metrics.json", "predictions.jsonl", "sample.json", "state.json"}
    names |= {"timing.json"}
    assert {path.name for path in folder.iterdir()} == names | {"trained.safetensors", "vocabulary.json"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["n_train"] == 16 and metrics["trained_parameters"] == 2 * (metrics["features"] + 1)
    config = (folder / "config.yaml").read_text()
    assert "model:\n  name: none\n" in config and "tuning:\n  name: none\n" in config
    first = (folder / "predictions.jsonl").read_bytes()
    assert main(["train", "method=tfidf", "data.shots=8", "hydra.run.dir=again"]) == 0
    assert (tmp_path / "again" / "predictions.jsonl").read_bytes() == first
    assert (tmp_path / "again" / "trained.safetensors").read_bytes() == (folder / "trained.safetensors").read_bytes()


@pytest.mark.slow
def test_a_sweep_sets_it_beside_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = [
        "train",
        "-m",
        "method=tfidf,prompt",
        "model=random",
        "tuning=zero_shot",
        "data.max_test=8",
        "data.shots=4",
    ]
    assert main([*sweep, "hydra.sweep.dir=s"]) == 0
    table = (tmp_path / "s" / "summary.md").read_text()
    assert "| tfidf | none | none |" in table and "| prompt | random | zero_shot |" in table
    assert (tmp_path / "s" / "report" / "index.html").is_file()
    capsys.readouterr()
    assert main([*sweep, "hydra.sweep.dir=s", "resume=true"]) == 0
    assert capsys.readouterr().err.count("done already") == 2


def test_it_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pet_cli.commands.cli import main\n"
        "status = main(['train', 'method=tfidf', 'data.shots=4'])\n"
        "sys.exit(status or 'torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method=tfidff"], "tfidf"),
        (["method=tfidf", "ensemble=pet"], "ensemble=pet"),
        (["method=tfidf", "task.target=number", "task.range=[0,5]", "task.metrics=[pearson]"], "task.target=label"),
        (["method=tfidf", "method.words=null", "method.characters=null"], "method.words"),
        (["method=tfidf", "method.words=[2,1]"], "method.words"),
        (["method=tfidf", "method.characters=3"], "method.characters"),
        (["method=tfidf", "method.strengths=[1,-1]"], "method.strengths"),
        (["method=tfidf", "method.strength=0"], "method.strength"),
        (["method=tfidf", "method.folds=1"], "method.folds"),
        (["method=tfidf", "method.ngrams=3"], "method.words"),
        (["method=tfidf", "task=custom"], "labels"),
    ],
)
def test_a_mistake_is_one_line(
    overrides: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *overrides]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err and len(err.splitlines()) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_explain_has_nothing_to_explain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "method=tfidf", "data.shots=4", "hydra.run.dir=r"]) == 0
    capsys.readouterr()
    assert main(["explain", "r"]) == 2 and "no prompt" in capsys.readouterr().err
