"""What the golden tests run: a tiny model with dropout whose every number is fixed, small tasks, and one way to run.

Nothing here is trained or drawn in another order from process to process: the vocabulary is written down, and the
weights come from one generator in the order of their names.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import json
import platform
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pet_cli.commands.cli import main

HERE = Path(__file__).parent / "golden"
CONF = HERE / "conf"
DATA = HERE / "data"
POSITIONS = 160
DROPOUT = 0.1

_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = (
    "the a an it was is of in and to had no not all with for on so but as like more "
    "good great lovely bad dull awful yes no maybe right wrong perhaps "
    "soup rice salt water bread tea meat fish cold hot warm sweet fresh dry plain egg cake pie taste bite "
    "train shop house dog man river road book box boat night day snow open closed full empty question answer review"
)
_ENDINGS = ("s", "ed", "er", "est", "ing", "ly", "ful", "less", "th", "ch", "ou", "ea", "en", "an", "on", "in", "ur")
_CHARACTERS = string.ascii_lowercase + string.digits + "!\"'(),-.:;?[]"


def vocabulary() -> list[str]:
    """Special tokens, characters, pieces inside words, whole words: any text is known, and many words are pieces."""
    inside = [f"##{piece}" for piece in (*string.ascii_lowercase, *string.digits, *_ENDINGS)]
    return list(dict.fromkeys([*_SPECIALS, *_CHARACTERS, *_WORDS.split(), *inside]))


def masked_model(folder: Path) -> Path:
    """A BERT of 2 layers x 32 with dropout, pooler and next-sentence head, as the published ones have them."""
    vocab = vocabulary()
    ids = {token: index for index, token in enumerate(vocab)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    names = {f"{token[1:-1].lower()}_token": token for token in _SPECIALS}
    _write_tokenizer(tokenizer, folder, {"tokenizer_class": "BertTokenizer", "model_max_length": POSITIONS, **names})
    config = tf.BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
        pad_token_id=0,
    )
    model = tf.BertForPreTraining(config)
    _fill(model)
    model.save_pretrained(folder)
    return folder


def _write_tokenizer(tokenizer: Tokenizer, folder: Path, settings: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@torch.no_grad()
def _fill(model: torch.nn.Module, seed: int = 5, size: float = 0.2) -> None:
    """Normal weights in the order of their names; biases and norms are off their usual start, so that each counts."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = size * torch.randn(parameter.shape, generator=generator)
        parameter.copy_(1 + noise if "norm" in name.lower() and name.endswith("weight") else noise)


@dataclass(frozen=True)
class World:
    """The folder of the models that a session made, and the ways to run on them."""

    models: Path

    @functools.cached_property
    def masked(self) -> Path:
        return masked_model(self.models / "masked")

    def train(self, folder: Path, *overrides: str, task: str = "meals", model: Path | None = None) -> Path:
        """Trains in this process for three steps and returns the run's folder.

        Raises:
            AssertionError: the run failed; with what it said.
        """
        code, said = self.attempt(folder, *overrides, task=task, model=model)
        assert code == 0, said
        return folder

    def attempt(self, folder: Path, *overrides: str, task: str = "meals", model: Path | None = None) -> tuple[int, str]:
        """As `train`; the exit status and all that was printed."""
        given = {override.partition("=")[0] for override in overrides}
        own = {
            "task": task,
            "data.path": str(DATA / task),
            "model.name": str(model or self.masked),
            "model.learning_rate": "1e-3",
            "data.shots": "4",
            "trainer.max_steps": "3",
            "device": "cpu",
            "hydra.run.dir": str(folder),
        }
        defaults = [f"{key}={value}" for key, value in own.items() if key not in given]
        with quiet() as said:
            code = main(["train", "--config-dir", str(CONF), *defaults, *overrides])
        return code, said.getvalue()


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Catches what is printed, both ways, within the block."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def found(folder: Path) -> dict[str, Any]:
    """What of a run's folder is equal whenever it is repeated, and holds no path: its golden contents."""
    metrics = read(folder / "metrics.json")
    metrics.pop("versions")
    contents = {
        "predictions": read_rows(folder / "predictions.jsonl"),
        "metrics": metrics,
        "sample": read(folder / "sample.json"),
    }
    if (folder / "soft_labels.jsonl").is_file():
        contents["soft_labels"] = read_rows(folder / "soft_labels.jsonl")
    return contents


def differences(there: Any, here: Any, near: float, place: str = "") -> list[str]:
    """Where what is found `here` is not what was found `there`: other text, whole numbers, lengths or order of keys at
    all, and other numbers by more than `near`. A key that is only here is no difference: a run may come to say more."""
    if isinstance(there, dict) and isinstance(here, dict):
        kept = [key for key in here if key in there]
        if kept != list(there):
            return [f"{place}: {', '.join(there)} there; {', '.join(here)} here"]
        return [apart for key in there for apart in differences(there[key], here[key], near, f"{place}.{key}")]
    if isinstance(there, list) and isinstance(here, list):
        if len(there) != len(here):
            return [f"{place}: {len(there)} there, {len(here)} here"]
        pairs = enumerate(zip(there, here, strict=True))
        return [apart for number, (a, b) in pairs for apart in differences(a, b, near, f"{place}[{number}]")]
    if isinstance(there, float) and isinstance(here, (int, float)) and not isinstance(here, bool):
        return [] if abs(there - here) <= near * max(1.0, abs(there)) else [f"{place}: {there} there, {here} here"]
    return [] if there == here else [f"{place}: {there!r} there, {here!r} here"]


def unlike_constraints() -> str | None:
    """Why the golden numbers do not hold here: another version than `constraints.txt` names, or another processor."""
    for line in (HERE.parent.parent / "constraints.txt").read_text().splitlines():
        name, equals, version = line.partition("==")
        if equals and name in ("torch", "transformers"):
            there = importlib.metadata.version(name).partition("+")[0]
            if there != version:
                return f"golden numbers are of {name} {version}; {there} is installed"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"torch draws its dropout otherwise on {platform.machine()}"
    return None


def text(contents: Any) -> str:
    """Golden contents as a file: one line for each row of a table, so that a change is read in a diff."""
    return _lines(contents, 0) + "\n"


def _lines(value: Any, depth: int) -> str:
    if isinstance(value, dict) and depth < 2 and value:
        inner = ",\n".join(f'{" " * (depth + 1)}"{key}": {_lines(one, depth + 1)}' for key, one in value.items())
        return "{\n" + inner + "\n" + " " * depth + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return (
            "[\n" + ",\n".join(" " * (depth + 1) + json.dumps(_short(one)) for one in value) + "\n" + " " * depth + "]"
        )
    return json.dumps(_short(value))


def _short(value: Any) -> Any:
    """Numbers with seven digits: more than is compared."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, list) else value
