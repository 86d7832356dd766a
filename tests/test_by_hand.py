"""Ensembles, PET and iPET step by step: members written by hand, or followed through the files they leave.

An ensemble that is resumed takes its finished members from their folders. So a member whose scores were replaced there
is one made by hand: what it says is known, and what becomes of it can be worked out.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldens import DATA, World, read, read_rows, vocabulary
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("by_hand")]

LABELS = ["tasty", "bland"]
TWO = ("ensemble.patterns=[p0,p1]", "ensemble.seeds=1")
PET = ("ensemble=pet", *TWO, "ensemble.student_steps=3", "ensemble.alpha=0", "ensemble.weights=uniform")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scores(probabilities: Sequence[float]) -> Tensor:
    """Label scores `[examples, 2]` of which the first label's probabilities are these."""
    first = torch.tensor(probabilities)
    return torch.stack([first, 1 - first], dim=1).log()


def said(folder: Path) -> dict[str, Tensor]:
    """What a member says: split -> label scores `[examples, labels]`."""
    return load_file(folder / "scores.safetensors")


def by_hand(folder: Path, **splits: Tensor) -> None:
    """Replaces what a finished member says of these splits."""
    path = folder / "scores.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    there = load_file(path)
    assert all(there[name].shape == tensor.shape for name, tensor in splits.items())
    save_file({**there, **splits}, path, metadata=metadata)


def soft_labels(folder: Path) -> dict[int, list[float]]:
    """Row of the unlabeled texts -> label probabilities."""
    return {row["row"]: [row["soft"][label] for label in LABELS] for row in read_rows(folder / "soft_labels.jsonl")}


def answers(folder: Path) -> list[float]:
    """The first label's probability for each test example."""
    return [row["probabilities"][LABELS[0]] for row in read_rows(folder / "predictions.jsonl")]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def data_with(tmp_path: Path, **splits: Sequence[dict[str, Any]]) -> str:
    """A folder of the meals' data with other rows in some splits; the override that names it."""
    for name in ("train", "test", "unlabeled"):
        write(tmp_path / "data" / f"{name}.jsonl", splits.get(name) or read_rows(DATA / "meals" / f"{name}.jsonl"))
    return f"data.path={tmp_path / 'data'}"


def labeled(name: str) -> list[dict[str, Any]]:
    """The unlabeled meals as a labeled split, so that a run's predictions are of the texts that a student learned."""
    return [
        {**row, "label": LABELS[number % 2]} for number, row in enumerate(read_rows(DATA / "meals" / f"{name}.jsonl"))
    ]


# --- soft labels and the student -----------------------------------------------------------------------------------


@pytest.mark.parametrize("combine", ["logits", "probabilities"])
def test_soft_labels_are_the_members_together_at_the_temperature(combine: str, world: World, tmp_path: Path) -> None:
    own = (*PET, "ensemble.weights=[1,3]", f"ensemble.combine={combine}")
    out = world.train(tmp_path / "run", *own, "ensemble.temperature=9")
    generator = torch.Generator().manual_seed(3)
    first, second = (3 * torch.randn(16, 2, generator=generator) for _ in range(2))
    by_hand(out / "members" / "p0-v0", unlabeled=first)
    by_hand(out / "members" / "p1-v0", unlabeled=second)
    world.train(out, *own, "ensemble.temperature=2", "resume=true")
    p, q = first.double().softmax(dim=1).numpy(), second.double().softmax(dim=1).numpy()
    mean = p**0.25 * q**0.75 if combine == "logits" else 0.25 * p + 0.75 * q
    wanted = mean**0.5 / (mean**0.5).sum(axis=1, keepdims=True)  # softmax(log(mean) / 2)
    there = soft_labels(out)
    assert list(there) == list(range(16))
    assert np.array(list(there.values())) == pytest.approx(wanted, abs=1e-5)


def test_soft_labels_stand_beside_their_texts_where_some_are_left_out(world: World, tmp_path: Path) -> None:
    own = (*PET, "data.max_unlabeled=9")
    out = world.train(tmp_path / "run", *own)
    together = sum(said(out / "members" / name)["unlabeled"].log_softmax(dim=1) for name in ("p0-v0", "p1-v0")) / 2
    assert len(soft_labels(out)) == 9
    texts = read_rows(DATA / "meals" / "unlabeled.jsonl")
    data = data_with(tmp_path, test=[{**texts[row], "label": "bland"} for row in soft_labels(out)])
    for pattern in ("p0", "p1"):  # the members alone, asked about the texts that the soft labels name
        world.train(tmp_path / pattern, f"pattern={pattern}", data)
    alone = [np.array([answers(tmp_path / pattern)]).T for pattern in ("p0", "p1")]
    logs = sum(np.log(np.hstack([one, 1 - one])) for one in alone) / 2
    assert together.softmax(dim=1).numpy() == pytest.approx(np.exp(logs) / np.exp(logs).sum(1, keepdims=True), abs=1e-4)
    assert np.array(list(soft_labels(out).values())) == pytest.approx(
        np.exp(logs / 2) / np.exp(logs / 2).sum(1, keepdims=True), abs=1e-4
    )


@pytest.mark.parametrize("student", ["classifier", "[p0,v0]"])
def test_a_student_learns_the_members_answer_to_each_text(student: str, world: World, tmp_path: Path) -> None:
    """It is trained at the temperature too, so that without it it gives the members' own probabilities back."""
    data = data_with(tmp_path, test=labeled("unlabeled"))
    own = (*PET, data, f"ensemble.student={student}")
    out = world.train(tmp_path / "run", *own)
    wanted = [0.8 if number in (0, 1, 3, 6, 7, 12, 13) else 0.2 for number in range(16)]
    for name in ("p0-v0", "p1-v0"):
        by_hand(out / "members" / name, unlabeled=scores(wanted))
    learn = ("ensemble.student_steps=70", "ensemble.student_learning_rate=8e-3", "ensemble.student_batch_size=16")
    world.train(out, *own, *learn, "resume=true")
    there = np.array(answers(out))
    # At no temperature at all 0.67 would be learned, and of sharper labels 0.94.
    assert there == pytest.approx(np.array(wanted), abs=0.08)
    assert np.abs(there - wanted).mean() < 0.05


# --- iPET ----------------------------------------------------------------------------------------------------------

IPET = (
    "ensemble=ipet",
    *PET[1:],
    "ensemble.generations=1",
    "ensemble.growth=3",
    "ensemble.subset=1.0",
    "data.shots=2",
)
OF_FIRST, OF_SECOND = {1, 2, 3, 4}, {0, 5, 10, 15}
"""The unlabeled rows that a member made by hand calls by the first label, and the other member."""


@pytest.fixture(scope="module")
def generation(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of iPET whose members of generation 0 are made by hand, and who learn long enough to know it by heart."""
    out = tmp_path_factory.mktemp("ipet") / "run"
    learn = ("trainer.max_steps=40", "trainer.learning_rate=5e-3", "trainer.batch_size=12")
    world.train(out, *IPET, *learn, "ensemble.temperature=9")
    for name, rows in (("p0-v0", OF_FIRST), ("p1-v0", OF_SECOND)):
        by_hand(out / "members" / name, unlabeled=scores([0.9 if row in rows else 0.1 for row in range(16)]))
    return world.train(out, *IPET, *learn, "ensemble.temperature=2", "resume=true")


def _drawn(folder: Path) -> set[int]:
    """The unlabeled rows in a member's training set."""
    return {-1 - row for row in read(folder / "sample.json")["train"] if row < 0}


@pytest.mark.parametrize(("member", "other"), [("p0-v0", OF_SECOND), ("p1-v0", OF_FIRST)])
def test_ipet_a_member_learns_what_the_others_said_never_itself(member: str, other: set[int], generation: Path) -> None:
    folder = generation / "members" / "generation-1" / member
    sample = read(folder / "sample.json")["train"]
    assert len([row for row in sample if row >= 0]) == 4  # the original ones stay
    drawn = _drawn(folder)
    # 2 of each label grow to 6: the four that the other member calls by the first label, and four of the others.
    assert len(drawn) == 8 and drawn & other == other
    called = said(folder)["unlabeled"].argmax(dim=1).tolist()
    assert {row: called[row] for row in drawn} == {row: 0 if row in other else 1 for row in drawn}


def test_ipet_the_last_generation_labels_for_the_student(generation: Path) -> None:
    last = generation / "members" / "generation-1"
    logs = sum(said(last / name)["unlabeled"].log_softmax(dim=1) for name in ("p0-v0", "p1-v0")) / 2
    wanted = (logs / 2).softmax(dim=1).numpy()
    assert np.array(list(soft_labels(generation).values())) == pytest.approx(wanted, abs=1e-5)
    rows = read_rows(generation / "predictions.jsonl")
    for name in ("p0-v0", "p1-v0"):
        own = said(last / name)["test"].softmax(dim=1)[:, 0].tolist()
        assert [row["members"][name][LABELS[0]] for row in rows] == pytest.approx(own, abs=1e-5)


# --- the auxiliary loss --------------------------------------------------------------------------------------------


def test_the_mlm_loss_never_predicts_a_special_token_such_as_the_prompts_own_mask(world: World, tmp_path: Path) -> None:
    """A word that is never the answer only loses: the bias of its score falls in every step."""
    own = ("ensemble=pet", *TWO, "ensemble.student_steps=1", "ensemble.alpha=0.9", "save_model=always")
    out = world.train(tmp_path / "run", *own)
    before = load_file(world.model("bert") / "model.safetensors")["cls.predictions.bias"]
    for name in ("p0-v0", "p1-v0"):
        after = load_file(out / "members" / name / "model" / "model.safetensors")["cls.predictions.bias"]
        specials = len(before) - len(vocabulary())
        assert specials == 5 and (after[:specials] < before[:specials]).all()
        assert (after[specials:] > before[specials:]).any()  # words that were answers


# --- members and their weights -------------------------------------------------------------------------------------


def test_development_weights_are_fitted_on_the_development_set(world: World, tmp_path: Path) -> None:
    own = ("ensemble=patterns", *TWO, "ensemble.weights=dev", "data.dev_shots=2")
    out = world.train(tmp_path / "run", *own, "ensemble.combine=logits")
    train, test = (read_rows(DATA / "meals" / f"{name}.jsonl") for name in ("train", "test"))
    dev = [train[row]["label"] for row in read(out / "sample.json")["dev"]]
    right, wrong = ([p if label == LABELS[0] else 1 - p for label in dev] for p in (0.9, 0.1))
    gold = [row["label"] for row in test]
    good, bad = ([p if label == LABELS[0] else 1 - p for label in gold] for p in (0.9, 0.1))
    by_hand(out / "members" / "p0-v0", dev=scores(right), test=scores(bad))
    by_hand(out / "members" / "p1-v0", dev=scores(wrong), test=scores(good))
    world.train(out, *own, "ensemble.combine=probabilities", "resume=true")
    weights = [row["weight"] for row in read(out / "metrics.json")["members"]]
    assert weights[0] > 0.99
    assert answers(out) == pytest.approx(bad, abs=0.01)


def test_members_weigh_as_they_do_on_the_training_examples_before_training(world: World, tmp_path: Path) -> None:
    own = ("ensemble=pvps", "ensemble.pvps=[[p0,v0],[p1,v1]]", "ensemble.weights=accuracy")
    out = world.train(tmp_path / "run", *own)
    train = read_rows(DATA / "meals" / "train.jsonl")
    data = data_with(tmp_path, test=[train[row] for row in read(out / "sample.json")["train"]])
    shares: dict[str, list[float]] = {"train": [], "test": []}
    for pattern, words in (("p0", "v0"), ("p1", "v1")):
        for split, given in (("train", [data]), ("test", [])):
            zero = ("tuning=zero_shot", f"pattern={pattern}", f"verbalizer={words}", *given)
            folder = world.train(tmp_path / f"{split}-{pattern}-{words}", *zero)
            shares[split].append(read(folder / "metrics.json")["accuracy"])
    normal = {split: [one / sum(accuracies) for one in accuracies] for split, accuracies in shares.items()}
    assert normal["train"] != pytest.approx(normal["test"], abs=0.01), "the splits would not be told apart"
    assert [row["weight"] for row in read(out / "metrics.json")["members"]] == pytest.approx(normal["train"])


def test_each_seed_of_an_ensemble_is_the_run_of_its_own_seed(world: World, tmp_path: Path) -> None:
    out = world.train(tmp_path / "run", "ensemble=patterns", "ensemble.patterns=[p0]", "ensemble.seeds=2")
    members = read_rows(out / "predictions.jsonl")
    for name, seed in (("p0-v0", 13), ("p0-v0-s1", 14)):
        alone = world.train(tmp_path / name, f"trainer.seed={seed}")
        assert [row["members"][name][LABELS[0]] for row in members] == pytest.approx(answers(alone), abs=1e-6)
    assert answers(tmp_path / "p0-v0") != pytest.approx(answers(tmp_path / "p0-v0-s1"), abs=1e-3)


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished PET run and its data, to be gone on with in copies."""
    folder = tmp_path_factory.mktemp("finished")
    world.train(folder / "run", *PET, data_with(folder))
    return folder


@pytest.mark.parametrize("changed", ["train", "test", "unlabeled"])
def test_a_finished_member_is_not_taken_for_other_texts(
    changed: str, finished: Path, world: World, tmp_path: Path
) -> None:
    """The rows and labels are as before, so that nothing but the texts tells."""
    shutil.copytree(finished / "run", tmp_path / "run")
    rows = read_rows(DATA / "meals" / f"{changed}.jsonl")
    data = data_with(finished, **{changed: [{**row, "text": f"{row['text']} So?"} for row in rows]})
    world.train(tmp_path / "run", *PET, data, "resume=true")
    world.train(tmp_path / "fresh", *PET, data)
    for name in ("predictions.jsonl", "soft_labels.jsonl"):
        assert read_rows(tmp_path / "run" / name) == read_rows(tmp_path / "fresh" / name)


# --- a shared model ------------------------------------------------------------------------------------------------


def test_a_shared_model_reads_each_text_through_each_template(world: World, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    own = ("ensemble=patterns_shared", *TWO, "trainer.max_steps=2", "trainer.batch_size=8", "save_model=always")
    with _read_sequences() as batches:
        out = world.train(tmp_path / "run", *own)
    tokenizer = AutoTokenizer.from_pretrained(world.model("bert"))
    train = read_rows(DATA / "meals" / "train.jsonl")
    texts = [train[row]["text"] for row in read(out / "sample.json")["train"]]
    wanted = [f"{text} It was [MASK]." for text in texts]
    wanted += [f"[MASK]! {text[:1].lower()}{text[1:]}" for text in texts]
    trained = [sequence for batch in batches[:2] for sequence in batch]  # one pass: 8 texts through 2 templates
    assert sorted(trained) == sorted(tokenizer(text)["input_ids"] for text in wanted)
    rows = read_rows(out / "predictions.jsonl")
    for pattern in ("p0", "p1"):  # the trained model asked alone says what its view said
        given = ("tuning=zero_shot", f"pattern={pattern}", f"model.name={out / 'model'}")
        alone = world.train(tmp_path / pattern, *given)
        assert [row["members"][f"{pattern}-v0"][LABELS[0]] for row in rows] == pytest.approx(answers(alone), abs=1e-5)


@contextlib.contextmanager
def _read_sequences() -> Iterator[list[list[list[int]]]]:
    """The token ids, without padding, of each batch that a model looks up, within the block."""
    batches: list[list[list[int]]] = []

    def look(module: nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(module, nn.Embedding) and module.num_embeddings > len(vocabulary()) and given[0].dim() == 2:
            batches.append([[token for token in line if token] for line in given[0].tolist()])

    hook = torch.nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield batches
    finally:
        hook.remove()


# --- members taken, or trained again -------------------------------------------------------------------------------


def _times(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("scores.safetensors")}


def test_weights_by_accuracy_are_measured_on_members_that_another_rule_finished(world: World, tmp_path: Path) -> None:
    own = ("ensemble=pvps", "ensemble.pvps=[[p0,v0],[p2,v1],[p1,v1]]")
    world.train(tmp_path / "fresh", *own, "ensemble.weights=accuracy")
    out = world.train(tmp_path / "run", *own, "ensemble.weights=uniform")
    times = _times(out)
    world.train(out, *own, "ensemble.weights=accuracy", "resume=true")
    assert _times(out) == times
    assert read_rows(out / "predictions.jsonl") == read_rows(tmp_path / "fresh" / "predictions.jsonl")
    weights = [row["weight"] for row in read(out / "metrics.json")["members"]]
    assert len(set(weights)) > 1


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("ensemble.alpha=0.5", True),
        ("ensemble.unlabeled_batch_size=3", True),
        ("trainer.learning_rate=5e-3", True),
        ("ensemble.temperature=5", False),
        ("ensemble.combine=vote", False),
        ("device=cpu", False),
    ],
)
def test_a_member_is_trained_again_where_what_trains_it_changed(
    changed: str, again: bool, world: World, tmp_path: Path
) -> None:
    own = ("ensemble=pet", *TWO, "ensemble.student_steps=2", "trainer.max_steps=2", "device=auto")
    out = world.train(tmp_path / "run", *own, "ensemble.alpha=0.1")
    times = _times(out)
    state = read(out / "state.json")
    (out / "state.json").write_text(json.dumps({**state, "status": "interrupted"}))
    world.train(out, *own, "ensemble.alpha=0.1", changed, "resume=true")
    kept = [name for name, time in _times(out).items() if times[name] == time]
    assert len(kept) == (0 if again else 2)


@pytest.mark.parametrize("subset", [0.5, 1.0])
def test_ipet_a_listed_weight_stays_with_its_member(world: World, tmp_path: Path, subset: float) -> None:
    """Three members, of which one counts nothing: where it alone labels, it labels all the same."""
    own = (*IPET, "ensemble.patterns=[p0,p1,p2]", "ensemble.weights=[0,1,3]", f"ensemble.subset={subset}")
    out = world.train(tmp_path / "run", *own, "data.shots=1")
    assert [row["weight"] for row in read(out / "metrics.json")["members"]] == [0, 0.25, 0.75]
    for folder in (out / "members" / "generation-1").iterdir():
        assert len(read(folder / "sample.json")["train"]) > 2


def test_ipet_members_weigh_in_every_generation_as_on_the_original_examples(world: World, tmp_path: Path) -> None:
    own = (*IPET, "ensemble.weights=accuracy")
    out = world.train(tmp_path / "run", *own)
    weights = [row["weight"] for row in read(out / "metrics.json")["members"]]
    first = world.train(
        tmp_path / "first", "ensemble=pvps", *TWO, "ensemble.verbalizers=[v0]", *own[-1:], "data.shots=2"
    )
    assert weights == pytest.approx([row["weight"] for row in read(first / "metrics.json")["members"]])


def test_ipet_from_no_labels_counts_all_members_alike_and_says_so(world: World, tmp_path: Path) -> None:
    own = (*IPET, "ensemble.weights=accuracy", "data.shots=0", "ensemble.first=4")
    code, said = world.attempt(tmp_path / "run", *own)
    assert code == 0 and "all members count alike" in " ".join(said.split())
    assert [row["weight"] for row in read(tmp_path / "run" / "metrics.json")["members"]] == [0.5, 0.5]


def test_a_shared_model_for_each_seed_and_its_checkpoint_by_all_views(world: World, tmp_path: Path) -> None:
    own = ("ensemble=patterns_shared", *TWO, "data.dev_shots=2", "trainer.eval_every=1")
    out = world.train(tmp_path / "run", *own, "ensemble.seeds=2")
    rows = read_rows(out / "predictions.jsonl")
    assert list(rows[0]["members"]) == ["p0-v0", "p1-v0", "p0-v0-s1", "p1-v0-s1"]
    for seed, end in ((13, ""), (14, "-s1")):
        alone = world.train(tmp_path / str(seed), *own, f"trainer.seed={seed}")
        for row, other in zip(rows, read_rows(alone / "predictions.jsonl"), strict=True):
            for name in ("p0-v0", "p1-v0"):
                assert row["members"][name + end] == pytest.approx(other["members"][name], abs=1e-6)
    assert rows[0]["members"]["p0-v0"] != rows[0]["members"]["p0-v0-s1"]


def test_the_same_pair_twice_is_refused(world: World, tmp_path: Path) -> None:
    code, said = world.attempt(tmp_path / "run", "ensemble=patterns", "ensemble.patterns=[p0,p0]")
    assert code == 2 and "p0-v0 stands there twice" in said
