"""Files of named arrays (safetensors), as `base/tensors.py` has them of tensors. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pet_cli.base.files import atomic
from pet_cli.errors import UserError


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Writes arrays by name, and texts by name beside them. Raises `UserError` for a place that cannot be written."""
    from safetensors.numpy import save_file

    with atomic(path) as temporary:
        save_file({name: np.ascontiguousarray(one) for name, one in arrays.items()}, temporary, dict(metadata or {}))


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, and the texts beside them. Raises `UserError` where the file is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; what the run trained was not saved.") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged: {error}.") from None
