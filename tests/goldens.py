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
from collections.abc import Callable, Sequence
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

Searched = Callable[..., tuple[int, str]]
"""`pet search` as the fixture `searched` runs it: what it takes, and what it gives."""

_WORDS = (
    "the a an it was is of in and to had no not all with for on so but as like more "
    "good great lovely bad dull awful yes no maybe right wrong perhaps "
    "soup rice salt water bread tea meat fish cold hot warm sweet fresh dry plain egg cake pie taste bite "
    "train shop house dog man river road book box boat night day snow open closed full empty question answer review"
)
_ENDINGS = ("s", "ed", "er", "est", "ing", "ly", "ful", "less", "th", "ch", "ou", "ea", "en", "an", "on", "in", "ur")
_CHARACTERS = string.ascii_lowercase + string.digits + "!\"'(),-.:;?[]"


def vocabulary() -> list[str]:
    """Characters, pieces inside words, whole words: any text is known, and many words are several pieces."""
    inside = [f"##{piece}" for piece in (*string.ascii_lowercase, *string.digits, *_ENDINGS)]
    return list(dict.fromkeys([*_CHARACTERS, *_WORDS.split(), *inside]))


def _tokenizer(specials: Sequence[str], template: tuple[str, str] | None) -> Tokenizer:
    """Lower-cased word pieces, the special tokens first; `template` is how one text and a pair are framed."""
    ids = {token: index for index, token in enumerate([*specials, *vocabulary()])}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=specials[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if template is not None:
        named = [(token, ids[token]) for token in specials]
        tokenizer.post_processor = processors.TemplateProcessing(*template, special_tokens=named)
    tokenizer.add_special_tokens(list(specials))
    return tokenizer


def build(name: str, folder: Path) -> Path:
    """Writes a model of 2 layers x 32 with dropout, and its tokenizer: `bert`, `gpt2`, `t5` or `bart`.

    The BERT has a pooler and a next-sentence head beside its MLM head, as the published ones have.
    """
    specials = {
        "bert": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
        "gpt2": {"pad": "<pad>", "unk": "<unk>", "eos": "<eos>", "bos": "<bos>"},
        "t5": {"pad": "<pad>", "unk": "<unk>", "eos": "<eos>", "extra": "<extra_id_0>"},
        "bart": {"pad": "<pad>", "unk": "<unk>", "eos": "</s>", "bos": "<s>", "mask": "<mask>"},
    }[name]
    template = {
        "bert": ("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        "gpt2": None,
        "t5": ("$A <eos>", "$A <eos> $B <eos>"),
        "bart": ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
    }[name]
    tokenizer = _tokenizer(list(specials.values()), template)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    kind = "BertTokenizer" if name == "bert" else "PreTrainedTokenizerFast"
    names = {f"{role}_token": token for role, token in specials.items() if role != "extra"}
    own = {"tokenizer_class": kind, "model_max_length": POSITIONS, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    common = {"vocab_size": tokenizer.get_vocab_size(), "pad_token_id": 0}
    model = _MODELS[name](common)
    _fill(model)
    model.save_pretrained(folder)
    return folder


def _bert(common: dict[str, Any]) -> Any:
    return tf.BertForPreTraining(
        tf.BertConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=POSITIONS,
            hidden_dropout_prob=DROPOUT,
            attention_probs_dropout_prob=DROPOUT,
            **common,
        )
    )


def _gpt2(common: dict[str, Any]) -> Any:
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS}
    drops = {"resid_pdrop": DROPOUT, "embd_pdrop": DROPOUT, "attn_pdrop": DROPOUT}
    return tf.GPT2LMHeadModel(tf.GPT2Config(bos_token_id=3, eos_token_id=2, **sizes, **drops, **common))


def _t5(common: dict[str, Any]) -> Any:
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
    return tf.T5ForConditionalGeneration(
        tf.T5Config(
            dropout_rate=DROPOUT,
            decoder_start_token_id=0,
            eos_token_id=2,
            relative_attention_num_buckets=8,
            **sizes,
            **common,
        )
    )


def _bart(common: dict[str, Any]) -> Any:
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "max_position_embeddings": POSITIONS}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    ends = {"bos_token_id": 3, "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": None}
    return tf.BartForConditionalGeneration(tf.BartConfig(dropout=DROPOUT, **sizes, **heads, **ends, **common))


_MODELS = {"bert": _bert, "gpt2": _gpt2, "t5": _t5, "bart": _bart}


@torch.no_grad()
def _fill(model: torch.nn.Module, seed: int = 5, size: float = 0.2) -> None:
    """Normal weights in the order of their names; biases and norms are off their usual start, so that each counts."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = size * torch.randn(parameter.shape, generator=generator)
        parameter.copy_(1 + noise if "norm" in name.lower() and name.endswith("weight") else noise)


class World:
    """The tiny models of a session, each made on first use, and the way to run on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.model = functools.cache(lambda name: build(name, folder / name))

    def train(self, folder: Path, *overrides: str, task: str = "meals", model: str = "bert") -> Path:
        """Trains in this process, for three steps by default, and returns the run's folder.

        Raises:
            AssertionError: the run failed; with what it said.
        """
        code, said = self.attempt(folder, *overrides, task=task, model=model)
        assert code == 0, said
        return folder

    def attempt(
        self, folder: Path | None, *overrides: str, task: str = "meals", model: str = "bert"
    ) -> tuple[int, str]:
        """As `train`; the exit status and all that was printed. Without a folder, it is where runs lie by default."""
        given = {override.partition("=")[0] for override in overrides}
        own = {
            "task": task,
            "data.path": str(DATA / task),
            "data.shots": "4",
            "trainer.max_steps": "3",
            "device": "cpu",
            "baseline": "false",
            **({} if folder is None else {"hydra.run.dir": str(folder)}),
        }
        if "model" not in given:
            own |= {"model.name": str(self.model(model)), "model.learning_rate": "1e-3"}
        defaults = [f"{key}={value}" for key, value in own.items() if key not in given]
        return pet("train", "--config-dir", str(CONF), *defaults, *overrides)


def pet(*arguments: str) -> tuple[int, str]:
    """The command line in this process: its exit status, and all that it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(arguments)
    return code, said.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """What of a search's folder is equal whenever it is repeated."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timing.json"}


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
