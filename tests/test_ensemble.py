"""Ensembles: combinations worked out by hand, members that are runs, PET and iPET end to end."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import run_of

from pet_cli.commands.cli import main
from pet_cli.config.build import option
from pet_cli.data.examples import Example, Split
from pet_cli.ensembles.combine import combine, confidence_weights, fit_weights, log_softmax
from pet_cli.ensembles.distillation import new_counts
from pet_cli.ensembles.members import MemberResult, member_rows, spread_of
from pet_cli.ensembles.method import EnsembleMethod
from pet_cli.ensembles.views import ViewsLearner
from pet_cli.errors import UserError
from pet_cli.methods import Context
from pet_cli.models import loading

SMALL = ("model=random", "trainer.max_steps=3", "data.shots=4", "data.max_test=24", "ensemble.patterns=[p0,p1,p2]")


def logs(*members: list[list[float]]) -> np.ndarray:
    return np.log(np.array(members))


def test_mean_of_probabilities_by_hand() -> None:
    answer = np.exp(combine(logs([[0.9, 0.1]], [[0.2, 0.8]]), "probabilities"))
    assert answer == pytest.approx(np.array([[0.55, 0.45]]))
    answer = np.exp(combine(logs([[0.9, 0.1]], [[0.2, 0.8]]), "probabilities", np.array([1, 3])))
    assert answer == pytest.approx(np.array([[0.375, 0.625]]))


def test_mean_of_logits_is_the_normalised_geometric_mean() -> None:
    answer = np.exp(combine(logs([[0.9, 0.1]], [[0.2, 0.8]]), "logits"))
    first, second = (0.9 * 0.2) ** 0.5, (0.1 * 0.8) ** 0.5
    assert answer == pytest.approx(np.array([[first, second]]) / (first + second))
    answer = np.exp(combine(logs([[0.9, 0.1]], [[0.2, 0.8]]), "logits", np.array([3, 1])))
    first, second = 0.9**0.75 * 0.2**0.25, 0.1**0.75 * 0.8**0.25
    assert answer == pytest.approx(np.array([[first, second]]) / (first + second))


def test_votes_and_their_tie_rule() -> None:
    members = logs([[0.6, 0.4]], [[0.6, 0.4]], [[0.01, 0.99]])
    assert combine(members, "vote").argmax() == 0  # two votes to one, whatever the confidence
    tie = logs([[0.6, 0.4]], [[0.1, 0.9]])
    assert combine(tie, "vote").argmax() == 1  # one to one: the higher mean probability
    assert combine(tie, "vote", np.array([2, 1])).argmax() == 0


def test_a_sure_member_does_not_overturn_a_heavier_one() -> None:
    members = logs([[0.51, 0.49]], [[0.01, 0.99]])
    assert combine(members, "vote", np.array([0.754, 0.748])).argmax() == 0
    assert combine(members, "vote", np.array([0.748, 0.754])).argmax() == 1
    assert combine(members, "vote", np.array([1.0, 1.0 - 1e-10])).argmax() == 0


@given(st.data())
def test_no_label_wins_that_is_outvoted(data: st.DataObject) -> None:
    n_members, n_labels = data.draw(st.integers(1, 6)), data.draw(st.integers(2, 4))
    weights = data.draw(st.lists(st.floats(0, 1e6), min_size=n_members, max_size=n_members).filter(any))
    share = st.floats(1e-6, 1)
    row = st.lists(share, min_size=n_labels, max_size=n_labels)
    table = np.array(data.draw(st.lists(row, min_size=n_members, max_size=n_members)))
    table = table / table.sum(axis=1, keepdims=True)
    votes = [Fraction(0)] * n_labels
    for member, weight in zip(np.log(table), weights, strict=True):
        votes[int(np.exp(log_softmax(member)).argmax())] += Fraction(weight)
    won = int(combine(np.log(table)[:, None, :], "vote", np.array(weights)).argmax())
    assert votes[won] >= max(votes) - sum(map(Fraction, weights)) * Fraction(1, 10**11)


def test_members_that_all_weigh_nothing_count_alike() -> None:
    members = logs([[0.9, 0.1]], [[0.2, 0.8]])
    for how in ("probabilities", "logits", "vote"):
        assert combine(members, how, np.zeros(2)) == pytest.approx(combine(members, how))


def test_confident_members_count_more_and_equal_ones_alike() -> None:
    weights = confidence_weights(logs([[0.5, 0.5]], [[0.99, 0.01]]))
    assert weights[1, 0] > 100 * weights[0, 0]
    members = logs([[0.7, 0.3]], [[0.3, 0.7]])
    assert confidence_weights(members)[0] == pytest.approx(confidence_weights(members)[1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("how", ["probabilities", "logits", "vote"])
def test_an_answer_does_not_depend_on_how_many_candidates_other_examples_have(how: str) -> None:
    members = logs([[0.9, 0.1]], [[0.3, 0.7]])
    padded = np.concatenate([members, np.full((2, 1, 3), -np.inf)], axis=2)
    assert confidence_weights(padded) == pytest.approx(confidence_weights(members))
    for weights in (np.array([1.0, 3.0]), np.array([0.0, 1.0]), confidence_weights(padded)):
        answer = np.exp(combine(padded, how, weights))
        assert answer[:, :2] == pytest.approx(np.exp(combine(members, how, weights))) and answer[:, 2:].max() < 1e-99


def test_each_view_of_a_shared_model_reads_all_that_trains_it_and_all_that_chooses_its_checkpoint() -> None:
    examples = tuple(Example(row, {"text": str(row)}, row % 2) for row in range(5))
    splits = {
        "train": Split("train", examples[:2]),
        "dev": Split("dev", examples[2:3]),
        "test": Split("test", examples),
    }
    rows = {name: [example.row for example in own.examples] for name, own in ViewsLearner.spread(splits, 3).items()}
    assert rows == {"train": [0, 1] * 3, "dev": [2] * 3}
    assert list(ViewsLearner.spread({**splits, "dev": Split("dev", ())}, 2)) == ["train"]


def test_members_stand_in_the_metrics_with_their_shares_and_their_spread() -> None:
    told = {name: {"score": score, "accuracy": score} for name, score in (("p0", 0.6), ("p1", 0.9), ("p2", 0.3))}
    results = [MemberResult(name, {}, metrics) for name, metrics in told.items()]
    rows = member_rows(results, np.array([1.0, 2.0, 1.0]))
    assert [(row["name"], row["score"], row["accuracy"]) for row in rows] == [
        ("p0", 0.6, 0.6),
        ("p1", 0.9, 0.9),
        ("p2", 0.3, 0.3),
    ]
    assert [row["weight"] for row in rows] == [0.25, 0.5, 0.25]
    by_example = member_rows(results, np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]]))
    assert [row["weight"] for row in by_example] == [0.25, 0.375, 0.375]
    assert spread_of(rows) == {
        "mean": pytest.approx(0.6),
        "std": pytest.approx(0.3),  # n - 1
        "best": "p1",
        "best_score": 0.9,
        "worst_score": 0.3,
    }
    assert spread_of(rows[:1])["std"] is None


def test_a_copy_of_an_ensemble_holds_the_members_and_the_model_of_each_seed(tmp_path: Path) -> None:
    own, copy = tmp_path / "own", tmp_path / "copy"
    left = ("members/p0-v0/config.yaml", "members.json", "model/config.json", "seed-1/model/config.json")
    for name in (*left, "trained.safetensors"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(name)
    EnsembleMethod(run_of(verbalizer={"a": "x", "b": "y"}), Context(folder=own)).save(copy)
    assert all((copy / name).read_text() == name for name in (*left, "trained.safetensors"))


@pytest.mark.parametrize("weights", ["[1, 2]", '["x"]', "3"])
def test_members_without_what_each_counts_are_damaged(weights: str, tmp_path: Path) -> None:
    (tmp_path / "members.json").write_text(f'{{"members": [], "weights": {weights}}}')
    own = option("ensemble", "patterns", weights="uniform")
    with pytest.raises(UserError, match=r"members\.json is damaged"):
        EnsembleMethod.load(tmp_path, run_of(verbalizer={"a": "x", "b": "y"}, ensemble=own), Context())


def test_dev_weights_find_the_member_that_knows() -> None:
    generator = np.random.default_rng(0)
    gold = generator.integers(0, 2, 200)
    good = np.where(np.eye(2)[gold] == 1, 0.9, 0.1)
    bad = np.full((200, 2), 0.5)
    weights = fit_weights(np.log(np.stack([good, bad])), gold.tolist())
    assert weights[0] > 0.9 and weights.sum() == pytest.approx(1)


def test_dev_weights_by_hand() -> None:
    """One step from equal weights: shares 0.9/1.1 and 0.4/1.0 of the first member."""
    members = logs([[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.4, 0.6]])
    expected = (0.9 / 1.1 + 0.4 / 1.0) / 2
    assert fit_weights(members, [0, 1], steps=1) == pytest.approx([expected, 1 - expected])


def test_dev_weights_where_no_member_thought_the_label_possible() -> None:
    never = np.array([[[0.0, -2000.0]], [[0.0, -2000.0]]])
    assert fit_weights(never, [1]) == pytest.approx([0.5, 0.5])


def test_scores_are_normalised() -> None:
    assert np.exp(log_softmax(np.array([[1e3, 0.0], [2.0, 2.0]]))).sum(axis=1) == pytest.approx([1, 1])


def test_ipet_sets_grow_and_keep_the_proportions() -> None:
    original = [Example(i, {}, int(i >= 6)) for i in range(8)]  # six of label 0, two of label 1
    ensemble = option("ensemble", "ipet", growth=5.0, first=10)
    assert new_counts(original, 2, 1, ensemble) == [24, 8]  # 8 -> 40
    assert new_counts(original, 2, 2, ensemble) == [144, 48]  # 8 -> 200
    assert new_counts([], 2, 1, ensemble) == [5, 5]
    assert new_counts([], 2, 2, ensemble) == [25, 25]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metrics(folder: str) -> dict:
    return json.loads(Path(folder, "metrics.json").read_text())


def test_a_member_is_the_run_of_its_pattern(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "ensemble=patterns", "hydra.run.dir=e", *SMALL]) == 0
    assert "\nmembers   3, mean " in capsys.readouterr().out
    assert main(["train", "pattern=p1", "hydra.run.dir=alone", *SMALL[:-1]]) == 0
    member, alone = Path("e/members/p1-v0/predictions.jsonl"), Path("alone/predictions.jsonl")
    assert member.read_text() == alone.read_text()
    rows = metrics("e")["members"]
    assert [row["name"] for row in rows] == ["p0-v0", "p1-v0", "p2-v0"]
    assert sum(row["weight"] for row in rows) == pytest.approx(1)
    assert main(["ensemble", "e"]) == 0
    again = capsys.readouterr().out
    assert f"{metrics('e')['accuracy']:.3f}" in again.splitlines()[-1]
    assert main(["ensemble", "e", "--combine", "vote", "--weights", "1,1,2", "--output", "again"]) == 0
    assert metrics("again")["combined"] == ["p0-v0", "p1-v0", "p2-v0"]
    assert main(["ensemble", "e", "--weights", "1,1"]) == 2
    assert main(["predict", "e", "--text", "a film"]) == 2
    assert "save_model=always" in capsys.readouterr().err
    assert main(["train", "ensemble=patterns", "tuning=head", "hydra.run.dir=h", *SMALL]) == 0
    capsys.readouterr()
    assert main(["predict", "h", "--text", "a film"]) == 0
    assert json.loads(capsys.readouterr().out)["predicted"] in ("negative", "positive")


@pytest.mark.parametrize(
    "extra",
    [
        ["ensemble=patterns", "ensemble.models=shared"],
        ["ensemble=patterns", "ensemble.seeds=2", "ensemble.average=weights", "ensemble.weights=accuracy"],
        ["ensemble=pvps", "ensemble.verbalizers=[v0,v1]", "ensemble.combine=vote", "ensemble.weights=confidence"],
        ["ensemble=patterns", "ensemble.weights=dev", "data.dev_shots=4", "tuning=head"],
        ["ensemble=patterns", "tuning=zero_shot", "ensemble.weights=accuracy"],
        ["ensemble=patterns", "verbalizer=v4", "scoring.combine=learned", "tuning=head"],
    ],
)
def test_every_kind_of_ensemble_runs(extra: list[str]) -> None:
    assert main(["train", *extra, "hydra.run.dir=e", *SMALL]) == 0
    found = metrics("e")
    assert 0 <= found["members_score"]["worst_score"] <= found["members_score"]["best_score"] <= 1


def test_pet_and_ipet_distil_and_the_student_predicts(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["ensemble.seeds=1", "ensemble.student_steps=3", "data.max_unlabeled=60", *SMALL]
    loads: list[str] = []
    load = loading.load
    monkeypatch.setattr(loading, "load", lambda name, **options: loads.append(name) or load(name, **options))
    assert main(["train", "ensemble=pet", "hydra.run.dir=p", *own]) == 0
    assert loads == ["random"], "the student's model is the members' without its head"
    soft = [json.loads(line) for line in Path("p/soft_labels.jsonl").read_text().splitlines()]
    assert len(soft) == 60 and all(sum(row["soft"].values()) == pytest.approx(1, abs=1e-4) for row in soft)
    assert main(["train", "ensemble=ipet", "ensemble.growth=2", "ensemble.generations=2", "hydra.run.dir=i", *own]) == 0
    assert len(metrics("i")["generations"]) == 3
    sizes = [
        len(json.loads(Path(f"i/members/{where}/p0-v0/sample.json").read_text())["train"])
        for where in (".", "generation-1", "generation-2")
    ]
    # A model of random weights finds few texts of some label, so a set may fall short of 16 and 32.
    assert sizes[0] == 8 < sizes[1] <= 16 and sizes[1] < sizes[2] <= 32
    capsys.readouterr()
    assert main(["predict", "p", "--text", "What a film."]) == 0
    assert json.loads(capsys.readouterr().out)["predicted"] in ("negative", "positive")


@pytest.mark.parametrize(("how", "n_train"), [("tuning=zero_shot", 8), ("data.shots=0", 0)])
def test_zero_shot_pet_needs_no_examples(how: str, n_train: int, in_tmp: Path) -> None:
    own = ["ensemble.seeds=1", "ensemble.student_steps=3", "data.max_unlabeled=40", *SMALL, how]
    assert main(["train", "ensemble=pet", "hydra.run.dir=p", *own]) == 0
    assert metrics("p")["n_train"] == n_train
    assert not list(Path("p/members").rglob("*trained.safetensors"))


def test_distilling_again_trains_no_member_again(in_tmp: Path) -> None:
    own = ["train", "ensemble=pet", "ensemble.seeds=1", "ensemble.student_steps=3", "data.max_unlabeled=40"]
    assert main([*own, "hydra.run.dir=p", *SMALL]) == 0
    times = {path: path.stat().st_mtime_ns for path in Path("p/members").rglob("*")}
    assert main([*own, "hydra.run.dir=p", "resume=true", "ensemble.temperature=4", *SMALL]) == 0
    assert {path: path.stat().st_mtime_ns for path in Path("p/members").rglob("*")} == times
