"""`pet ensemble`: runs whose predictions are written by hand, combined again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from goldens import World, read, read_rows

from pet_cli.commands.cli import main

pytestmark = pytest.mark.xdist_group("recombine")

LABELS = ("tasty", "bland")


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, whose predictions the tests replace."""
    return world.train(tmp_path_factory.mktemp("recombine") / "run", "tuning=zero_shot", "data.max_test=2")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(finished: Path, folder: str, tasty: Sequence[float], labels: Sequence[str] = LABELS, row: int = 0) -> str:
    """A run's folder whose first label has these probabilities; the gold labels are tasty and bland."""
    place = Path(folder)
    place.mkdir(parents=True)
    (place / "config.yaml").write_text((finished / "config.yaml").read_text())
    rows = []
    for number, p in enumerate(tasty):
        by_name = dict(zip(LABELS, (p, 1 - p), strict=True))
        probabilities = {label: by_name.get(label, 0.0) for label in labels}
        gold = LABELS[number]
        rows.append({"row": row + number, "gold": gold, "predicted": max(by_name, key=by_name.__getitem__)})
        rows[-1]["probabilities"] = probabilities
    (place / "predictions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return folder


def first(folder: str) -> list[float]:
    return [row["probabilities"]["tasty"] for row in read_rows(Path(folder) / "predictions.jsonl")]


def test_runs_of_equal_names_all_count(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        run(finished, f"{place}/run", tasty)
        for place, tasty in (("a", [0.9, 0.3]), ("b", [0.6, 0.6]), ("c", [0.3, 0.9]))
    ]
    assert main(["ensemble", *runs, "--output", "out"]) == 0
    assert first("out") == pytest.approx([0.6, 0.6])
    assert read(Path("out/metrics.json"))["combined"] == ["a/run", "b/run", "c/run"]
    assert main(["ensemble", *runs, "--weights", "1,0,3", "--output", "weighted"]) == 0
    assert first("weighted") == pytest.approx([0.45, 0.75])


def test_candidates_and_questions_are_combined_too(world: World, tmp_path: Path) -> None:
    """An example's own candidates, more of some than of others; and answers that belong to one question."""
    config = world.train(tmp_path / "own", "tuning=zero_shot", "data.max_test=2", task="causes") / "config.yaml"
    told = [[{"the sun": 0.9, "rain": 0.1}, {"a dog": 0.2, "a man": 0.3, "an egg": 0.5}]]
    told.append([{"the sun": 0.3, "rain": 0.7}, {"a dog": 0.7, "a man": 0.2, "an egg": 0.1}])
    for name, lines in zip("ab", told, strict=True):
        Path(name).mkdir()
        Path(name, "config.yaml").write_text(config.read_text())
        gold = ("the sun", ["a man", "an egg"])
        rows = [{"row": n, "group": "q", "gold": gold[n], "probabilities": own} for n, own in enumerate(lines)]
        Path(name, "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["ensemble", "a", "b", "--output", "out"]) == 0
    first, second = read_rows(Path("out/predictions.jsonl"))
    assert (first["predicted"], second["predicted"], second["gold"]) == ("the sun", "a dog", ["a man", "an egg"])
    assert list(second["probabilities"].values()) == pytest.approx([0.45, 0.25, 0.3])
    assert second["group"] == "q" and read(Path("out/metrics.json"))["accuracy"] == 0.5


def test_what_was_combined_stands_beside_it(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [run(finished, "a", [0.9, 0.2]), run(finished, "b", [0.8, 0.3])]
    for _ in range(2):  # and may be written again
        assert main(["ensemble", *runs, "--combine", "logits", "--weights", "1,3", "--output", "out"]) == 0
    there = yaml.safe_load(Path("out/config.yaml").read_text())
    own = yaml.safe_load((finished / "config.yaml").read_text())
    assert there == {"combine": "logits", "weights": "1,3", "combined": {"a": own, "b": own}}
    capsys.readouterr()
    for arguments in (["predict", "out", "--text", "Soup."], ["ensemble", "a", "out"]):
        assert main(arguments) == 2
        assert "out holds what pet ensemble made of other runs; give one of them: a, b" in capsys.readouterr().err


def test_what_is_predicted_is_the_most_probable_label(finished: Path) -> None:
    assert main(["ensemble", run(finished, "a", [0.9, 0.2]), run(finished, "b", [0.8, 0.3]), "--output", "out"]) == 0
    rows = read_rows(Path("out/predictions.jsonl"))
    assert [row["predicted"] for row in rows] == ["tasty", "bland"] and read(Path("out/metrics.json"))["accuracy"] == 1


def test_labels_in_another_order_are_matched_by_name(finished: Path) -> None:
    runs = [run(finished, "a", [0.9, 0.2]), run(finished, "b", [0.7, 0.4], labels=LABELS[::-1])]
    assert main(["ensemble", *runs, "--output", "out"]) == 0
    assert first("out") == pytest.approx([0.8, 0.3])


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        (["a"], "given twice"),
        (["./a"], "given twice"),
        (["labels"], "have different labels"),
        (["rows"], "different test examples"),
        (["b", "--weights", "1"], "1 weights for 2 members"),
        (["b", "--weights", "nan,1"], "must be >= 0"),
        (["b", "--weights", "inf,1"], "must be >= 0"),
        (["b", "--weights", "0,0"], "not all 0"),
        (["b", "--output", "b"], "a run lies there"),
    ],
)
def test_what_cannot_be_combined_is_one_line(
    extra: list[str], why: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(finished, "a", [0.9, 0.2])
    run(finished, "b", [0.9, 0.2])
    run(finished, "labels", [0.9, 0.2], labels=("tasty", "plain"))
    run(finished, "rows", [0.9, 0.2], row=5)
    before = Path("b/predictions.jsonl").read_text()
    assert main(["ensemble", "a", *extra]) == 2
    error = capsys.readouterr().err
    assert why in error and error.count("\n") == 1
    assert Path("b/predictions.jsonl").read_text() == before


def test_predict_on_the_folder_of_a_sweep_offers_its_runs(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(finished, "s/one", [0.9, 0.2])
    run(finished, "s/two", [0.9, 0.2])
    assert main(["predict", "s", "--text", "Soup."]) == 2
    assert "s holds several runs; give one of them: s/one, s/two" in capsys.readouterr().err
    assert main(["ensemble", "s"]) == 2
    assert "s holds several runs; give them one by one: s/one, s/two" in capsys.readouterr().err
