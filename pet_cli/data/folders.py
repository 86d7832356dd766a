"""Which files of a folder are which split, as people name them and as the hub writes them."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from pet_cli.data.rows import SUFFIXES, kind_of
from pet_cli.errors import UserError, choices

SPLITS = ("train", "validation", "test", "unlabeled")
_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
    "unlabeled": "unlabeled",
    "unlabelled": "unlabeled",
    "unsupervised": "unlabeled",
}
_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})")


def split_files(folder: Path) -> dict[str, list[Path]]:
    """The files of each split of a folder, shards in their order.

    A split is a file named after it (`train.csv`, `dev.jsonl`, `Test.CSV.gz`), its shards
    (`train-00000-of-00002.parquet`), or the files of a folder named after it (`train/data.csv`). Where a folder has
    none of these, its only subfolder that has is taken (`data/train.csv`).

    Raises:
        UserError: no split, two files for one, or a shard that is missing.
    """
    found = _here(folder)
    if not found:
        inner = {path.name: _here(path) for path in _sorted(folder) if path.is_dir()}
        inner = {name: splits for name, splits in inner.items() if splits}
        if len(inner) > 1:
            raise UserError(f"data.path={folder}: there are data in {choices(inner)}; name one of these folders.")
        found = next(iter(inner.values()), {})
    if not found:
        raise UserError(
            f"data.path={folder}: no file there is named after a split; "
            f"wanted are {choices(SPLITS)} as {choices(s[1:] for s in SUFFIXES)}."
        )
    return {name: found[name] for name in SPLITS if name in found}


def _here(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in _sorted(folder):
        split = _NAMES.get(_stem(path).lower())
        if split is None:
            continue
        if path.is_dir():
            files = [file for file in _sorted(path) if file.is_file() and kind_of(file)]
            found.setdefault(split, []).extend(files)
        elif kind_of(path):
            found.setdefault(split, []).append(path)
    found = {split: files for split, files in found.items() if files}
    for split, files in found.items():
        _check(folder, split, files)
    return found


def _sorted(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _stem(path: Path) -> str:
    """A file's name without its suffixes and the number of its shard."""
    name = path.name
    if path.is_file():
        name = name[:-3] if name.lower().endswith(".gz") else name
        name = Path(name).stem
    shard = _SHARD.fullmatch(name)
    return shard["name"] if shard else name


def _check(folder: Path, split: str, files: list[Path]) -> None:
    shards = [_SHARD.match(file.name) for file in files]
    if len(files) > 1 and not all(shards):
        names = " and ".join(str(file.relative_to(folder)) for file in files[:2])
        raise UserError(f"data.path={folder}: both {names} are '{split}'.")
    numbers = [int(shard["number"]) for shard in shards if shard]
    total = next((int(shard["total"]) for shard in shards if shard), 1)
    if numbers and numbers != list(range(total)):
        raise UserError(f"data.path={folder}: of the {total} files of '{split}', {len(numbers)} are there.")


def stamp(path: Path, without: Sequence[str] = ()) -> str | None:
    """Identifies the contents of a file, or of the splits of a folder but for some; None where there are none."""
    if not path.exists():
        return None
    digest = hashlib.sha256()
    files = split_files(path) if path.is_dir() else {"": [path]}
    for name, parts in sorted(files.items()):
        for part in () if name in without else parts:
            about = part.stat()
            digest.update(f"{name}:{_contents(part, about.st_size, about.st_mtime_ns)}".encode())
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=64)
def _contents(file: Path, size: int, changed: int) -> str:
    """A hash of a file's contents; read again only where its size or time have changed."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
