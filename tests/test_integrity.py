"""Loading a model that is damaged, half there or of another kind: one line names the file; no weight is random."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from goldens import World, pet, read_rows
from safetensors.torch import load_file, save_file

from pet_cli.commands import account
from pet_cli.errors import UserError
from pet_cli.models.loading import load
from pet_cli.results import summary
from pet_cli.runs import states
from pet_cli.runs.saved import saved_config

pytestmark = pytest.mark.xdist_group("integrity")

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("integrity"))


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    """A copy of the tiny BERT, to be damaged."""
    return Path(shutil.copytree(world.model("bert"), tmp_path / "model"))


def cut(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def weights(change_them: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change_them(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def without(*parts: str) -> Callable[[Path], None]:
    def remove(tensors: dict[str, Any]) -> None:
        gone = [key for key in tensors if any(part in key for part in parts)]
        assert gone
        for key in gone:
            del tensors[key]

    return weights(remove)


def no_number(tensors: dict[str, Any]) -> None:
    tensors["bert.encoder.layer.0.output.dense.weight"][3, 4] = float("nan")


def pickled(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def more_tokens(folder: Path) -> None:
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text())
    last = max(told["model"]["vocab"].values())
    own = {"id": last + 1, "content": "<new>", "single_word": False, "lstrip": False, "rstrip": False}
    told["added_tokens"].append({**own, "normalized": False, "special": False})
    path.write_text(json.dumps(told))


def shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def of_another_version(folder: Path) -> None:
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text())
    told["model"]["type"] = "WordPieceOfTomorrow"
    path.write_text(json.dumps(told))


def other_padding(folder: Path) -> None:
    change(folder / "config.json", pad_token_id=3)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "weights are a pointer": (
        lambda f: (f / "model.safetensors").write_text(POINTER),
        r"model\.safetensors is a pointer of Git LFS.*git lfs pull",
    ),
    "config is a pointer": (lambda f: (f / "config.json").write_text(POINTER), r"config\.json is a pointer"),
    "tokenizer is a pointer": (lambda f: (f / "tokenizer.json").write_text(POINTER), r"tokenizer\.json is a pointer"),
    "weights cut short": (lambda f: cut(f / "model.safetensors"), r"model\.safetensors is damaged or cut short"),
    "weights cut within the header": (lambda f: cut(f / "model.safetensors", 0.001), r"model\.safetensors is damaged"),
    "weights empty": (lambda f: (f / "model.safetensors").write_bytes(b""), r"model\.safetensors is damaged"),
    "weights pickled": (pickled, r"no model\.safetensors; pickled weights \(pytorch_model\.bin\) are not loaded"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"has no model\.safetensors\.$"),
    "a shard is missing": (shards, r"model-00002-of-00002\.safetensors: no such file"),
    "config cut short": (lambda f: cut(f / "config.json"), r"config\.json is damaged"),
    "config empty": (lambda f: (f / "config.json").write_text(""), r"config\.json is damaged"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), r"config\.json is damaged: it is not a map"),
    "config without a type": (lambda f: (f / "config.json").write_text("{}"), r"config\.json names no model_type"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json: no such file"),
    "config of an unknown type": (lambda f: change(f / "config.json", model_type="bertie"), r"bertie"),
    "config with a wrong type": (lambda f: change(f / "config.json", hidden_size="wide"), r"model\.name="),
    "tokenizer cut short": (lambda f: cut(f / "tokenizer.json"), r"tokenizer\.json is damaged"),
    "tokenizer empty": (lambda f: (f / "tokenizer.json").write_text(""), r"tokenizer\.json is damaged"),
    "tokenizer of another version": (of_another_version, r"tokenizer in .* cannot be read"),
    "tokenizer's config cut short": (lambda f: cut(f / "tokenizer_config.json"), r"tokenizer_config\.json is damaged"),
    "no tokenizer": (no_tokenizer, r"has no tokenizer \(no tokenizer\.json"),
    "tokens added without resizing": (more_tokens, r"'<new>'.*embeddings for \d+ tokens\. Tokens were added without"),
    "tokenizer of another model": (other_padding, r"padding is token 3 by config\.json and 0 by the tokenizer"),
    "config of another width": (
        lambda f: change(f / "config.json", hidden_size=64),
        r"weights do not fit config\.json: '.*' is \[.*\] in the checkpoint and \[.*64.*\] by config\.json",
    ),
    "config of another vocabulary": (lambda f: change(f / "config.json", vocab_size=90), r"do not fit config\.json"),
    "config of more layers": (
        lambda f: change(f / "config.json", num_hidden_layers=4),
        r"lacks 32 of \d+ weights of the body that config\.json asks for, such as bert\.encoder\.layer\.2\.",
    ),
    "a layer is missing": (without("layer.1."), r"lacks 16 of \d+ weights of the body"),
    "word embeddings are missing": (without("word_embeddings", "decoder"), r"lacks 1 of \d+ weights of the body"),
    "another architecture": (weights(lambda t: [t.update({f"x.{k}": t.pop(k)}) for k in list(t)]), r"the body"),
    "NaN among the weights": (
        weights(no_number),
        r"damaged: 'bert\.encoder\.layer\.0\.output\.dense\.weight' h",
    ),
}


OF_THE_BODY = ("config of more layers", "a layer is missing", "word embeddings are missing", "NaN among the weights")
"""What a model is refused for that is asked for its body alone, beside what is seen before its weights are read."""


@pytest.mark.parametrize(
    ("name", "head"), [*((name, True) for name in DAMAGES), *((name, False) for name in OF_THE_BODY)]
)
def test_what_is_damaged_is_told_in_one_line(name: str, head: bool, folder: Path) -> None:
    damage, told = DAMAGES[name]
    damage(folder)
    with pytest.raises(UserError, match=told) as error:
        load(str(folder), device="cpu", head=head)
    assert "\n" not in str(error.value) and f"model.name={folder}" in str(error.value)


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bart"])
@pytest.mark.parametrize("gone", ["0.", "1."])
def test_no_weight_of_a_body_is_left_random_in_any_family(world: World, tmp_path: Path, kind: str, gone: str) -> None:
    folder = Path(shutil.copytree(world.model(kind), tmp_path / "model"))
    layer = {"gpt2": f"h.{gone}", "t5": f"encoder.block.{gone}", "bart": f"decoder.layers.{gone}"}[kind]
    without(layer)(folder)
    with pytest.raises(UserError, match=r"lacks \d+ of|weights missing") as error:
        load(str(folder), device="cpu")
    assert layer in str(error.value)


def test_what_published_checkpoints_lack_may_be_missing(folder: Path) -> None:
    whole = load(str(folder), device="cpu")
    without("pooler", "seq_relationship")(folder)
    own = load(str(folder), device="cpu")
    for key, tensor in own.model.state_dict().items():
        assert torch.equal(tensor, whole.model.state_dict()[key])


@pytest.mark.parametrize("cls", [tf.BertModel, tf.BertForSequenceClassification])
@pytest.mark.parametrize("mask", [True, False])
def test_an_encoder_without_a_masked_lm_head_serves_a_classifier(
    world: World, folder: Path, tmp_path: Path, cls: Any, mask: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = tf.BertForMaskedLM.from_pretrained(folder).bert
    model = cls(body.config)
    own = model.bert if hasattr(model, "bert") else model
    own.load_state_dict(body.state_dict(), strict=False)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    if not mask:
        change(folder / "tokenizer_config.json", mask_token=None, tokenizer_class="PreTrainedTokenizerFast")
    expected = world.train(tmp_path / "whole", "tuning=classifier")
    run = world.train(tmp_path / "bare", "tuning=classifier", f"model.name={folder}", "model.learning_rate=1e-3")
    assert read_rows(run / "predictions.jsonl") == read_rows(expected / "predictions.jsonl")
    code, said = pet("predict", str(run), "--text", "good soup")
    assert code == 0, said
    saved = tf.AutoModel.from_pretrained(run / "model")
    assert not any("cls." in key or "classifier" in key for key in load_file(run / "model" / "model.safetensors"))
    assert isinstance(saved, tf.BertModel)
    with pytest.raises(UserError, match=r"no trained masked-LM head.*tuning=classifier|no mask token"):
        load(str(folder), device="cpu")


OF_A_RUN: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "trained": ("trained.safetensors", "tuning=head", cut),
    "trained is gone": ("trained.safetensors", "tuning=lora", Path.unlink),
    "model": ("model/model.safetensors", "tuning=full", cut),
    "model's config": ("model/config.json", "tuning=full", cut),
    "model's tokenizer": ("model/tokenizer.json", "tuning=classifier", cut),
    "config": ("config.yaml", "tuning=head", lambda path: path.write_text("model: [")),
    "config without keys": ("config.yaml", "tuning=head", lambda path: path.write_text("task: {}")),
    "config is gone": ("config.yaml", "tuning=head", Path.unlink),
}


@pytest.fixture(scope="module")
def runs(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return {mode: world.train(root / mode, mode) for mode in sorted({mode for _, mode, _ in OF_A_RUN.values()})}


@pytest.mark.parametrize("name", OF_A_RUN)
def test_what_is_broken_in_a_runs_folder_is_told_in_one_line(name: str, runs: dict[str, Path], tmp_path: Path) -> None:
    file, mode, damage = OF_A_RUN[name]
    run = Path(shutil.copytree(runs[mode], tmp_path / "run"))
    assert pet("predict", str(run), "--text", "good soup")[0] == 0
    damage(run / file)
    code, said = pet("predict", str(run), "--text", "good soup")
    assert code == 2 and said.count("\n") == 1 and Path(file).name in said, said


@pytest.mark.parametrize(
    ("file", "text"),
    [(file, "[]") for file in ("metrics.json", "account.json", "timing.json", "config.yaml")]
    + [("metrics.json", "{}")],
)
def test_what_is_broken_is_told_where_a_finished_run_is_shown(
    file: str, text: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(runs["tuning=head"], tmp_path / "run"))
    config = saved_config(run)
    (run / file).write_text(text)
    with pytest.raises(UserError, match=file):
        account.lines(run)
    if file == "metrics.json":
        with pytest.raises(UserError, match=file):
            summary.row(run)
    if file == "config.yaml":
        with pytest.raises(UserError, match=file):
            states.difference(run, {}, config)


def test_numbers_that_are_none_never_reach_a_file(
    world: World, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Finite weights whose product is not.
    weights(lambda t: [t[key].mul_(1e38) for key in t if "intermediate.dense.weight" in key])(folder)
    own = (f"model.name={folder}", "model.learning_rate=1e-3")
    code, said = world.attempt(tmp_path / "asked", *own, "tuning=zero_shot")
    assert code == 2 and "answers are no numbers (NaN)" in said and said.count("\n") == 1, said
    code, said = world.attempt(tmp_path / "trained", *own, "baseline=false")
    assert code == 2 and "from step 1 of 3 on, before anything was trained" in said and said.count("\n") == 1, said
    for out in ("asked", "trained"):
        assert not (tmp_path / out / "predictions.jsonl").exists()


@pytest.mark.parametrize("mode", ["full", "lora", "soft_prompt"])
def test_training_that_goes_too_far_stops_at_the_step_where_it_begins(
    world: World, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    from pet_cli.tuning.base import PromptLearner

    calls: list[int] = []
    loss = PromptLearner.loss

    def overflowing(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(1)
        return loss(self, *args, **options) * (float("nan") if len(calls) >= 3 else 1.0)

    monkeypatch.setattr(PromptLearner, "loss", overflowing)
    code, said = world.attempt(tmp_path / "run", f"tuning={mode}", "trainer.max_steps=40", "trainer.learning_rate=0.01")
    assert code == 2 and said.count("\n") == 1, said
    assert "from step 3 of 40 on" in said and "below 0.01 (trainer.learning_rate)" in said
    assert len(calls) == 3 and not (tmp_path / "run" / "predictions.jsonl").exists()
