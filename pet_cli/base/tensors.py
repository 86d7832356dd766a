"""Files of named tensors (safetensors): written whole or not at all, and read with an error of one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pet_cli.base.files import atomic
from pet_cli.errors import UserError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors by name, and texts by name beside them.

    Raises:
        UserError: a number that is none (NaN, infinite), or a place that cannot be written.
    """
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path} is not written: '{name}' holds NaN or infinite numbers.")
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        save_file(own, temporary, metadata=dict(metadata or {}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the texts beside them.

    Raises:
        UserError: the file is missing or damaged, or holds NaN or infinite numbers.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; it was not saved, or has been removed.") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged: {error}.") from None
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path} is damaged: '{name}' holds NaN or infinite numbers.")
    return tensors, metadata
