"""`tuning.init=FILE`: a soft prompt that starts from the vectors another run has trained, and `scripts/pairs.py`."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from goldens import CONF, DATA, World, pet, read, read_rows
from safetensors.torch import load_file, save_file

from pet_cli import methods
from pet_cli.commands.compose import compose
from pet_cli.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import pairs

SOFT = ("tuning=soft_prompt", "tuning.length=4", "tuning.learning_rate=1")


@pytest.fixture(scope="module")
def prompt(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that trained four vectors."""
    return world.train(tmp_path_factory.mktemp("prompt") / "run", *SOFT, "seed=21")


def test_a_soft_prompt_starts_from_what_another_run_has_trained(world: World, prompt: Path) -> None:
    trained = load_file(prompt / "trained.safetensors")["vectors"]
    for place in (prompt, prompt / "trained.safetensors"):
        config = compose(
            ["task=meals", f"model.name={world.model('bert')}", "device=cpu", *SOFT, f"tuning.init={place}"], str(CONF)
        )
        learner = methods.build(config).learner  # type: ignore[attr-defined]
        assert torch.equal(learner.vectors.detach(), trained) and torch.equal(learner.start, trained)
    assert len(trained) == 4


def test_a_run_that_started_from_a_file_is_asked_without_it(world: World, prompt: Path, tmp_path: Path) -> None:
    start = shutil.copytree(prompt, tmp_path / "start")
    run = world.train(tmp_path / "run", *SOFT, f"tuning.init={start}", "trainer.max_steps=1")
    code, said = pet("explain", str(run))
    moved = [float(line.partition("moved ")[2].split()[0]) for line in said.splitlines() if "moved" in line]
    before, after = (load_file(one / "trained.safetensors")["vectors"] for one in (start, run))
    assert code == 0 and moved == pytest.approx((after - before).norm(dim=1).tolist(), abs=2e-3)
    resumed, _ = world.attempt(run, *SOFT, f"tuning.init={start}", "trainer.max_steps=1", "resume=true")
    assert resumed == 0
    shutil.rmtree(start)
    text = read_rows(DATA / "meals" / "test.jsonl")[0]["text"]
    code, said = pet("predict", str(run), "--text", text)
    assert code == 0 and json.loads(said)["predicted"] == read_rows(run / "predictions.jsonl")[0]["predicted"]


@pytest.mark.slow
def test_another_file_is_another_run(world: World, prompt: Path, tmp_path: Path) -> None:
    start = shutil.copytree(prompt, tmp_path / "start")
    run = world.train(tmp_path / "run", *SOFT, f"tuning.init={start}")
    known = read(run / "state.json")["fingerprint"]
    vectors, path = load_file(start / "trained.safetensors"), start / "trained.safetensors"
    save_file({name: one + 1 for name, one in vectors.items()}, path, {"model": "x"})
    code, said = world.attempt(run, *SOFT, f"tuning.init={start}", "resume=true")
    assert code != 0 and read(run / "state.json")["fingerprint"] == known and "another model" not in said


@pytest.mark.slow
def test_a_prompt_of_another_kind_is_refused_in_a_line(world: World, prompt: Path, tmp_path: Path) -> None:
    other, wide = tmp_path / "other.safetensors", tmp_path / "wide.safetensors"
    save_file({"vectors": torch.zeros(4, 32)}, other, {"model": "another"})
    save_file({"vectors": torch.zeros(4, 48)}, wide)
    lora = world.train(tmp_path / "lora", "tuning=lora")
    for given, reason in {
        ("tuning.init=vocabs",): "tuning.init=vocabs: not one of random, vocab, labels, text, nor a file of trained "
        "vectors; no such file. Did you mean 'vocab'?",
        (
            f"tuning.init={prompt}",
            "tuning.length=5",
        ): "it holds 4 vectors, and template '{soft*5} {text} It was {mask}.'",
        (f"tuning.init={other}",): "it was trained on another model than model.name=",
        (f"tuning.init={wide}",): "its vectors have width 48, those of",
        (f"tuning.init={lora}",): "it holds no prompt vectors",
        (f"tuning.init={CONF / 'task' / 'meals.yaml'}",): "meals.yaml is damaged",
    }.items():
        code, said = world.attempt(tmp_path / "run", *SOFT, *given)
        assert code == 2 and "tuning.init" in said and reason in said, said
    with pytest.raises(UserError, match=r"tuning\.init=.*: not one of random, vocab, labels, text"):
        compose(["task=meals", "tuning=prefix", f"tuning.init={prompt}"], str(CONF))


def test_pairs_are_written_as_a_data_set_of_documents_kept_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "pairs"
    corpus.mkdir()
    lines = [" ".join(f"In story {a} the part {b} was told." for b in range(8)) for a in range(130)]
    (corpus / "stories.txt").write_text("\n".join(lines), encoding="utf-8")
    assert pairs.main([str(corpus), str(out), "--train", "30", "--heldout", "6"]) == 0
    parts = {name: read_rows(out / f"{name}.jsonl") for name in ("train", "validation", "test")}
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 30, "validation": 6, "test": 6}
    stories: dict[str, set[str]] = {}
    for name, rows in parts.items():
        for row in rows:
            [a], [c] = (set(re.findall(r"story (\d+)", row[field])) for field in ("first", "second"))
            one, two = ([int(part) for part in re.findall(r"part (\d)", row[field])] for field in ("first", "second"))
            beside = {two[0] - one[-1], one[0] - two[-1]}
            if row["label"] == "entailment":
                assert a == c and two[0] - one[-1] == 1
            else:
                assert a != c if row["label"] == "contradiction" else a == c and 1 not in beside
            stories.setdefault(name, set()).update((a, c))
        assert {row["label"] for row in rows} == set(pairs.RELATIONS)
    assert not stories["train"] & (stories["validation"] | stories["test"])
    (corpus / "stories.txt").write_text("A line.\nAnother.\n")
    capsys.readouterr()
    assert pairs.main([str(corpus), str(out)]) == 2
    told = capsys.readouterr().err
    assert "stories.txt" in told and "holds no documents" in told and told.count("\n") == 1
