"""COPA, on rows of our own: a task of one YAML whose examples bring their own candidates, through all that runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import World
from torch import Tensor

from pet_cli.commands.cli import main
from pet_cli.commands.compose import compose
from pet_cli.config import resolve

ROWS: list[dict[str, Any]] = [
    {
        "premise": "The soup was cold.",
        "choice1": "It was open.",
        "choice2": "The fish was cold.",
        "question": "cause",
    },
    {
        "premise": "The road was closed.",
        "choice1": "We had rice.",
        "choice2": "It was full.",
        "question": "effect",
    },
    {"premise": "Snow fell at night.", "choice1": "The road was open.", "choice2": "It was cold.", "question": "cause"},
    {"premise": "The bread was dry.", "choice1": "No one had a bite.", "choice2": "A man read.", "question": "effect"},
]
GOLD = [0, 1, 1, 0]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [json.dumps({**row, "label": gold}) for row, gold in zip(ROWS, GOLD, strict=True)]
    for name in ("train", "test"):
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "unlabeled.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n", encoding="utf-8")
    return folder


def run(world: World, folder: Path, data: Path, *overrides: str, model: str = "bert") -> list[dict[str, Any]]:
    world.train(folder, f"data.path={data}", "data.shots=null", *overrides, task="copa", model=model)
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def chances(rows: list[dict[str, Any]]) -> Tensor:
    return torch.tensor([list(row["probabilities"].values()) for row in rows])


def test_the_templates_read_as_pets_for_causes_and_for_effects() -> None:
    config = compose(["task=copa"])
    filled = []
    for pattern in config.task.patterns:
        template = resolve.Template.parse(pattern)
        for row in ROWS[:2]:
            link = config.task.fields["link"]["values"][row["question"]]
            parts = [
                part.value({**row, "link": link}) if hasattr(part, "value") else getattr(part, "text", "[M]")
                for part in template.parts
            ]
            filled.append("".join(parts))
    assert filled == [
        '"it was open" or "the fish was cold"? The soup was cold because [M].',
        '"we had rice" or "it was full"? The road was closed , so [M].',
        "it was open or the fish was cold? The soup was cold because [M].",
        "we had rice or it was full? The road was closed , so [M].",
    ]


@pytest.mark.parametrize("model", ["bert", "gpt2", "t5", "bart"])
@pytest.mark.parametrize("tuning", ["zero_shot", "full"])
def test_a_run_chooses_among_each_examples_candidates(
    model: str, tuning: str, world: World, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrote = run(world, tmp_path / "run", data, f"tuning={tuning}", "save_model=always", model=model)
    for line, row, gold in zip(wrote, ROWS, GOLD, strict=True):
        choices = [row["choice1"], row["choice2"]]
        assert list(line["probabilities"]) == choices and line["gold"] == choices[gold]
        assert line["predicted"] == max(choices, key=line["probabilities"].__getitem__)
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), "--file", str(data / "test.jsonl")]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    torch.testing.assert_close(chances(said), chances(wrote), atol=2e-6, rtol=0)
    assert [line["predicted"] for line in said] == [line["predicted"] for line in wrote]


def test_training_learns_which_candidate_is_right(world: World, data: Path, tmp_path: Path) -> None:
    steps = ("trainer.max_steps=60", "trainer.learning_rate=3e-3", "tuning.dropout=false")
    wrote = run(world, tmp_path / "run", data, "tuning=full", *steps)
    assert [line["predicted"] for line in wrote] == [line["gold"] for line in wrote]


def test_ensembles_and_pet_choose_too(world: World, data: Path, tmp_path: Path) -> None:
    members = {name: run(world, tmp_path / name, data, "tuning=zero_shot", f"pattern={name}") for name in ("p0", "p1")}
    both = run(world, tmp_path / "both", data, "tuning=zero_shot", "ensemble=patterns", "ensemble.weights=uniform")
    expected = (chances(members["p0"]) + chances(members["p1"])) / 2
    torch.testing.assert_close(chances(both), expected, atol=1e-4, rtol=0)
    assert list(both[0]["members"]["p0-v0"]) == [ROWS[0]["choice1"], ROWS[0]["choice2"]]
    shared = run(world, tmp_path / "shared", data, "ensemble=patterns_shared")
    assert chances(shared).isfinite().all()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scoring=soft", "scoring=soft trains a vector for each label"),
        ("scoring.combine=learned", "scoring.combine=learned trains what words"),
        ("tuning=classifier", "tuning=classifier has no mask"),
        ("ensemble=pet", "ensemble=pet: a student learns how likely labels are"),
        ("task.candidates=[choice1,choice3]", "no column 'choice3' of task.candidates"),
    ],
)
def test_what_cannot_choose_is_refused(override: str, message: str, world: World, data: Path, tmp_path: Path) -> None:
    code, said = world.attempt(tmp_path / "run", f"data.path={data}", override, task="copa")
    assert code == 2 and message in " ".join(said.split())


def test_show_shows_a_query_with_its_answers(world: World, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = f"model.name={world.model('bert')}"
    assert main(["show", "--row", "0", "task=copa", f"data.path={data}", model]) == 0
    said = " ".join(capsys.readouterr().out.split())
    longest = len(["the", "fish", "was", "cold"])
    assert said.count("[MASK]") == 2 * longest  # in the prompt and among its tokens
    assert "The fish was cold. the fish was cold" in said
