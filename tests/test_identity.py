"""Which model it is: what is remembered of one is never taken for another's, and a run finds its own again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from goldens import World, pet, read, read_rows
from safetensors.torch import load_file, save_file

from pet_cli.base.memo import Memo
from pet_cli.config.build import build, option
from pet_cli.models.loading import load
from pet_cli.models.places import located, stamp
from pet_cli.prompts.template import Template
from pet_cli.runs.session import Session
from pet_cli.tuning.zero_shot import ZeroShotLearner
from pet_cli.verbalizers.manual import ManualVerbalizer

pytestmark = pytest.mark.xdist_group("identity")

ROWS = [{"text": "good soup"}, {"text": "the bread was dry"}]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("identity"))


def copy_of(world: World, folder: Path, factor: float = 1.0) -> Path:
    """A copy of the tiny BERT, its word embeddings times a factor."""
    shutil.copytree(world.model("bert"), folder)
    scale(folder, factor)
    return folder


def scale(folder: Path, factor: float) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["bert.embeddings.word_embeddings.weight"] *= factor
    save_file(tensors, path, metadata={"format": "pt"})


def learner_of(memo: Memo, **how: Any) -> ZeroShotLearner:
    lm = load(device="cpu", **how)
    words = ManualVerbalizer({"bad": {"bad": 1.0}, "good": {"good": 1.0}}, option("scoring", "words"))
    template = Template.parse("{text} It was {mask}.")
    return ZeroShotLearner(
        lm, template, ["bad", "good"], option("tuning", "zero_shot"), 64, memo=memo, verbalizer=words
    )


def answers(memo: Memo, **how: Any) -> list[Any]:
    learner = learner_of(memo, **how)
    return learner.predict(learner.encode(ROWS, "rows")).tolist()  # type: ignore[no-any-return]


@pytest.fixture
def hub(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of the hub's in its cache, with two revisions that answer otherwise; its name."""
    import huggingface_hub.constants as constants

    own = tmp_path / "cache" / "models--some--bert"
    for revision, commit, factor in (("main", "a" * 40, 1.0), ("v2", "b" * 40, -1.0)):
        (own / "snapshots").mkdir(parents=True, exist_ok=True)
        copy_of(world, own / "snapshots" / commit, factor)
        (own / "refs").mkdir(exist_ok=True)
        (own / "refs" / revision).write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return "some/bert"


def test_another_revision_is_another_model(hub: str) -> None:
    memo = Memo()
    first, second = answers(memo, name=hub), answers(memo, name=hub, revision="v2")
    assert first != second
    assert answers(Memo(), name=hub, revision="v2") == second and answers(memo, name=hub) == first


def test_a_run_takes_the_revision_that_it_is_given(
    hub: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = []
    for revision in ("main", "v2"):
        own = ("tuning=zero_shot", "model=custom", f"model.name={hub}", f"model.revision={revision}")
        said.append(read_rows(world.train(tmp_path / revision, *own) / "predictions.jsonl"))
    assert said[0] != said[1]


def test_another_precision_is_another_model(world: World) -> None:
    memo, name = Memo(), str(world.model("bert"))
    first, second = (answers(memo, name=name, precision=precision) for precision in ("fp32", "bf16"))
    assert first != second
    assert answers(Memo(), name=name, precision="bf16") == second


def test_a_folder_with_other_weights_is_another_model(world: World, tmp_path: Path) -> None:
    memo, folder = Memo(), copy_of(world, tmp_path / "model")
    first, told = answers(memo, name=str(folder)), stamp(str(folder))
    scale(folder, -1.0)
    assert answers(memo, name=str(folder)) != first
    assert stamp(str(folder)) != told


def test_what_was_encoded_by_one_tokenizer_is_not_taken_for_another(world: World, tmp_path: Path) -> None:
    memo, folder = Memo(), copy_of(world, tmp_path / "model")
    before = learner_of(memo, name=str(folder)).encode(ROWS, "rows").prompts
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text())
    told["normalizer"]["lowercase"] = False
    vocabulary = told["model"]["vocab"]
    vocabulary["good"], vocabulary["great"] = vocabulary["great"], vocabulary["good"]
    path.write_text(json.dumps(told))
    after = learner_of(memo, name=str(folder)).encode(ROWS, "rows").prompts
    assert before[0].ids != after[0].ids and before[1].ids == after[1].ids


def test_names_that_are_no_folder_have_no_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("embedded", "random", "roberta-large", "some/model"):
        assert stamp(name) is None and located(name) == name
    for name in ("embedded", "roberta-large"):
        (tmp_path / name).mkdir()
    assert stamp("embedded") is None and located("embedded") == "embedded"
    assert stamp("roberta-large") and located("roberta-large") == str(tmp_path / "roberta-large")
    assert located("./roberta-large/../roberta-large") == str(tmp_path / "roberta-large")


@pytest.mark.parametrize("ensemble", ["none", "patterns"])
def test_a_finished_run_is_no_longer_done_when_the_models_files_change(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ensemble: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, out = copy_of(world, tmp_path / "model"), tmp_path / "run"
    own = (f"model.name={folder}", "tuning=head", f"ensemble={ensemble}", "resume=true")
    first = read_rows(world.train(out, *own) / "predictions.jsonl")
    assert read_rows(world.train(out, *own) / "predictions.jsonl") == first
    scale(folder, -1.0)
    code, said = world.attempt(out, *own)
    assert code == 2 and f"the files of model.name={folder} have changed since" in said, said
    assert read_rows(out / "predictions.jsonl") == first


def test_a_run_on_a_relative_folder_is_asked_from_anywhere(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of(world, tmp_path / "models" / "mine")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    answer: Callable[[], tuple[int, str]] = lambda: pet("predict", str(tmp_path / "run"), "--text", "good soup")  # noqa: E731
    world.train(tmp_path / "run", "model.name=models/mine", "tuning=lora")
    adapter = read(tmp_path / "run" / "adapter" / "adapter_config.json")
    assert adapter["base_model_name_or_path"] == str(tmp_path / "models" / "mine")
    here = answer()
    assert here[0] == 0, here
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert answer() == here
    (tmp_path / "models").rename(tmp_path / "gone")
    code, said = answer()
    assert code == 2 and said.count("\n") == 1 and f"{tmp_path}/models/mine: no such folder" in said, said


def test_loading_a_model_leaves_the_random_state(world: World) -> None:
    names = (str(world.model("bert")), str(world.model("t5")), "random")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for name in names:
        load(name, device="cpu")
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("key", "value", "handed_on"),
    [
        ("model.revision", "older", {"revision": "older"}),
        ("model.trust_remote_code", True, {"trust_remote_code": True}),
        ("model.name", "another/model", {"name": "another/model"}),
        ("precision", "bf16", {"precision": "bf16"}),
        ("device", "mps", {"device": "mps"}),
        ("tuning", "classifier", {"head": False}),
    ],
)
def test_a_session_loads_another_model_where_any_key_of_it_is_another(
    monkeypatch: pytest.MonkeyPatch, key: str, value: Any, handed_on: dict[str, Any]
) -> None:
    loaded: list[dict[str, Any]] = []

    def stand_in(name: str, **how: Any) -> SimpleNamespace:
        loaded.append({"name": name, **how})
        return SimpleNamespace(restore=lambda: None, body=lambda: None, number=len(loaded))

    monkeypatch.setattr("pet_cli.models.loading.load", stand_in)
    groups = {"task": "reviews", "model": "custom"}
    settings = {"model.name": "some/model", "device": "cpu", "precision": "fp32"}
    first = build(groups, settings)
    other = build({**groups, key: value}, settings) if key == "tuning" else build(groups, {**settings, key: value})
    session = Session()
    numbers = [session.language_model(config).number for config in (first, other, first, other)]  # type: ignore[attr-defined]
    assert numbers == [1, 2, 1, 2]
    assert loaded[1] == {**loaded[0], **handed_on} != loaded[0]
