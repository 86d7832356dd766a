"""Whether a model is whole: its files before they are loaded, and its parts against each other afterwards.

A file that is cut short, a pointer of Git LFS in a file's place, a tokenizer of another model: each is told in one
line that names the file, and no weight is ever left as it was drawn.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from pet_cli.errors import UserError

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_JSON = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_INDEX = "model.safetensors.index.json"
_POINTER = b"version https://git-lfs"
_MAY_LACK = re.compile(r"(^|\.)(pooler\.|position_ids$|token_type_ids$|final_logits_bias$)")
"""What published checkpoints lack and nothing here reads, or a buffer of constants."""


def check_config(name: str, folder: Path) -> None:
    """Raises `UserError` where a model's folder has no configuration, or a damaged one."""
    config = folder / "config.json"
    if not config.is_file():
        inside = " It is a run's folder; its model is in model/." if (folder / "model").is_dir() else ""
        raise UserError(f"model.name={name}: {config}: no such file.{inside}")
    if not _json(name, config).get("model_type"):
        raise UserError(f"model.name={name}: {config} names no model_type.")


def check_files(name: str, folder: Path) -> None:
    """Raises `UserError` for a file of weights or of a tokenizer that is missing or damaged."""
    for file in _JSON:
        if (folder / file).is_file():
            _json(name, folder / file)
    for path in _weights(name, folder):
        _safetensors(name, path)
    if not any(next(folder.glob(pattern), None) for pattern in _TOKENIZERS):
        raise UserError(f"model.name={name}: {folder} has no tokenizer (no tokenizer.json, nor a vocabulary).")


def _weights(name: str, folder: Path) -> list[Path]:
    """The files of weights. Raises `UserError` where there are none."""
    whole, index = folder / "model.safetensors", folder / _INDEX
    if whole.is_file():
        return [whole]
    if index.is_file():
        shards = _json(name, index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise UserError(f"model.name={name}: {index} is damaged: it names no files of weights.")
        return [folder / shard for shard in sorted(set(shards.values()))]
    pickled = next((path.name for kind in ("*.bin", "*.pt", "*.ckpt", "*.h5") for path in folder.glob(kind)), None)
    instead = f"; pickled weights ({pickled}) are not loaded" if pickled else ""
    raise UserError(f"model.name={name}: {folder} has no model.safetensors{instead}.")


def _json(name: str, path: Path) -> dict[str, Any]:
    _no_pointer(name, path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"model.name={name}: {path} is damaged: {error}.") from None
    if not isinstance(found, dict):
        raise UserError(f"model.name={name}: {path} is damaged: it is not a mapping.")
    return found


def _safetensors(name: str, path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"model.name={name}: {path}: no such file, though its index names it.")
    _no_pointer(name, path)
    try:
        with safe_open(path, "pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise UserError(f"model.name={name}: {path} is damaged or cut short: {error}.") from None


def _no_pointer(name: str, path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise UserError(
                f"model.name={name}: {path} is a pointer of Git LFS, not the file itself: run 'git lfs pull' there."
            )


def check_weights(name: str, model: Any, report: Any, head: str, advice: str, needs_head: bool = True) -> None:
    """Raises `UserError` where weights were not in the checkpoint, are of other sizes, or are no numbers.

    Args:
        report: what transformers says of the loading.
        head: what the model's head is called, and `advice` what helps where it is missing.
        needs_head: whether anything reads the head; else it may be missing.
    """
    config = "config.json"
    if report["mismatched_keys"]:
        key, there, here = sorted(tuple(one) for one in report["mismatched_keys"])[0]
        raise UserError(
            f"model.name={name}: the weights do not fit {config}: '{key}' is {list(there)} in the checkpoint and "
            f"{list(here)} by {config}."
        )
    missing = sorted(key for key in report["missing_keys"] if not _MAY_LACK.search(key))
    prefix = f"{model.base_model_prefix}."
    has_body = hasattr(model, model.base_model_prefix)
    body = [key for key in missing if has_body and key.startswith(prefix)]
    if body:
        total = sum(key.startswith(prefix) for key in model.state_dict())
        raise UserError(
            f"model.name={name}: the checkpoint lacks {len(body)} of {total} weights of the body that {config} asks "
            f"for, such as {body[0]}. It is incomplete, or of another kind of model ({model.config.model_type})."
        )
    if missing and needs_head:
        raise UserError(
            f"model.name={name}: the checkpoint has no trained {head} ({len(missing)} weights missing, such as "
            f"{missing[0]}). {advice}"
        )
    for key, parameter in model.named_parameters():
        if not torch.isfinite(torch.stack(parameter.detach().aminmax())).all() and key not in missing:
            raise UserError(f"model.name={name}: the checkpoint is damaged: '{key}' holds NaN or infinite numbers.")


def check_tokenizer(name: str, model: Any, tokenizer: Any, padded: bool) -> None:
    """Raises `UserError` for a tokenizer that is empty, or of another model.

    Args:
        padded: whether the model was trained on padded texts, so that its configuration knows its padding.
    """
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) <= len(set(tokenizer.all_special_tokens)):
        raise UserError(f"model.name={name}: it has no tokenizer: the vocabulary holds special tokens alone.")
    rows = len(model.get_input_embeddings().weight)
    token, highest = max(vocabulary.items(), key=lambda item: item[1])
    if highest >= rows:
        raise UserError(
            f"model.name={name}: the tokenizer has ids up to {highest} ('{token}'), the model embeddings for {rows} "
            "tokens. Tokens were added without resizing the model, or the tokenizer is another model's."
        )
    there, here = getattr(model.config, "pad_token_id", None), tokenizer.pad_token_id
    if padded and there is not None and here is not None and there != here:
        raise UserError(
            f"model.name={name}: padding is token {there} by config.json and {here} by the tokenizer, which is another "
            "model's."
        )
