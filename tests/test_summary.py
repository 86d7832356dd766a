"""The tables of a sweep, from runs whose scores are known: means, deviations, best and worst, what did not finish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pet_cli.commands.tables import show_sweep
from pet_cli.results import summary


def run(pattern: str, seed: int, score: float | None, shots: Any = 16, **more: Any) -> dict[str, Any]:
    """A row as `summary.table` makes it of one run; without a score it has failed."""
    done = score is not None
    return {
        "run": f"{pattern}-{shots}-{seed}",
        "path": f"/sweep/{pattern}-{shots}-{seed}",
        "task": "toy",
        "pattern": pattern,
        "data.shots": shots,
        "seed": seed,
        "data.seed": seed,
        "trainer.seed": seed,
        "metric": "accuracy" if done else None,
        "score": score,
        "accuracy": score,
        "macro_f1": score / 2 if done else None,
        "calibration_error": 0.1 if done else None,
        "n_train": 32,
        "n_test": 40,
        "status": "done" if done else "failed",
        "error": None if done else "it broke",
        **more,
    }


ROWS = [run("p0", 1, 0.5), run("p0", 2, 0.7), run("p0", 3, None), run("p1", 1, 0.9), run("p1", 2, 0.8)]


def test_a_configuration_has_the_mean_and_deviation_of_its_finished_seeds() -> None:
    first, second = summary.summarise(ROWS)
    assert (first["pattern"], first["n"], first["failed"]) == ("p0", 2, 1)
    assert first["score_mean"] == pytest.approx(0.6) and first["score_std"] == pytest.approx(0.02**0.5)  # n - 1
    assert first["macro_f1_mean"] == pytest.approx(0.3) and first["metric"] == "accuracy"
    assert (second["pattern"], second["n"], second["failed"]) == ("p1", 2, 0)
    assert second["score_mean"] == pytest.approx(0.85) and second["score_std"] == pytest.approx(0.005**0.5)


def test_one_seed_has_no_deviation_and_none_no_mean() -> None:
    first, second = summary.summarise([run("p0", 1, 0.5), run("p1", 1, None)])
    assert first["score_mean"] == 0.5 and first["score_std"] is None
    assert second["score_mean"] is None and (second["n"], second["failed"]) == (0, 1)
    assert summary.mean_std(first, "score") == "0.500" and summary.mean_std(second, "score") == "–"


def test_configurations_stand_in_the_order_of_their_numbers() -> None:
    rows = [run("p0", 1, 0.5, shots) for shots in (128, 16, None, 4)]
    assert [line["data.shots"] for line in summary.summarise(rows)] == [4, 16, 128, None]


def test_best_and_worst_are_told_with_their_distance() -> None:
    told = summary.spread(summary.summarise(ROWS))
    assert told == "Best pattern=p1 (0.850), worst pattern=p0 (0.600): a spread of 25.0 points."


def test_all_examples_are_written_as_the_command_line_takes_them() -> None:
    rows = [run("p0", 1, 0.5, 16), run("p0", 1, 0.9, None)]
    told = summary.markdown(summary.summarise(rows), rows)
    assert "\n| null | 0.900" in told and "Best data.shots=null (0.900), worst data.shots=16 (0.500)" in told


def test_where_all_come_to_the_same_none_is_best() -> None:
    told = summary.spread(summary.summarise([run("p0", 1, 0.5), run("p1", 1, 0.5)]))
    assert told == "All 2 configurations come to the same, 0.500."


def test_configurations_of_two_metrics_are_not_compared() -> None:
    lines = summary.summarise([run("p0", 1, 0.5), run("p1", 1, 0.9, metric="macro_f1")])
    assert summary.spread(lines) is None and summary.best_run(ROWS, lines) is None


def test_the_best_run_is_the_first_finished_one_of_the_best_configuration() -> None:
    assert summary.best_run(ROWS, summary.summarise(ROWS)) == Path("/sweep/p1-16-1")
    rows = [run("p0", 1, None), run("p0", 2, 0.9), run("p1", 1, 0.2)]
    assert summary.best_run(rows, summary.summarise(rows)) == Path("/sweep/p0-16-2")
    assert summary.best_run([run("p0", 1, None)], summary.summarise([run("p0", 1, None)])) is None


def test_the_markdown_table_says_what_is_shared_what_differs_and_what_did_not_finish() -> None:
    text = summary.markdown(summary.summarise(ROWS), ROWS).splitlines()
    assert "task=toy · data.shots=16" in text
    assert "| pattern | accuracy | macro-F1 | n |" in text
    assert "| p0 | 0.600 ± 0.141 | 0.300 ± 0.071 | 2 |" in text
    assert "| p1 | 0.850 ± 0.071 | 0.425 ± 0.035 | 2 |" in text
    assert text[-1] == "- p0-16-3: failed. it broke"
    assert "Best pattern=p1 (0.850), worst pattern=p0 (0.600): a spread of 25.0 points." in text


def test_a_bar_in_a_template_ends_no_cell() -> None:
    rows = [run("{text} | So {mask}", 1, 0.5), run("p0", 1, 0.9)]
    assert r"| {text} \| So {mask} | 0.500 | 0.250 | 1 |" in summary.markdown(summary.summarise(rows), rows)


def test_the_terminal_keeps_brackets_and_a_reason_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [run("p[red]", 1, 0.7), run("p[red]", 2, None, error="x" * 60 + " pip install 'a[b]'")]
    show_sweep(rows, summary.summarise(rows), Path("/sweep"))
    assert f"failed: p[red]-16-2: {'x' * 60} pip install 'a[b]'\n" in capsys.readouterr().out


def test_a_dotted_key_is_found_and_a_group_is_known_by_its_name() -> None:
    values = {"task": {"name": "toy", "label": "gold"}, "data": {"shots": 4}}
    found = [summary.select(values, key) for key in ("task", "task.label", "data.shots", "data.seed", "no.such.key")]
    assert found == ["toy", "gold", 4, None, None]
