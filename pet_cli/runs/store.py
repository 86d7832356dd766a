"""The files of a run's folder. Torch-free: reading results needs no model."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from pet_cli.base.files import read_object, write_json, write_jsonl, write_text
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError
from pet_cli.runs import states
from pet_cli.tasks.metrics import score
from pet_cli.version import __version__

if TYPE_CHECKING:
    from pet_cli.data.examples import Split
    from pet_cli.tasks.targets import Target

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one, where PyYAML was built with it


RESULTS = (
    *("account.json", "config.yaml", "metrics.json", "predictions.jsonl", "sample.json", "timing.json"),
    "demonstrations.json",
    *("selection.json", "selection.jsonl"),
    *("members.json", "scores.safetensors", "soft_labels.jsonl", "trained.safetensors", "vocabulary.json"),
    *("adapter", "model", "seed-*", "student"),
)
"""What a run, or a member of an ensemble, may leave in its folder beside its state and the folders of its members."""


def clear(folder: Path, *also: str) -> None:
    """Removes what an earlier run left in a folder, and nothing that is not a run's.

    Args:
        also: further names.
    """
    for path in [path for name in (*RESULTS, *also) for path in folder.glob(name)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    names = ("torch", "transformers", "tokenizers", "datasets", "hydra-core", "numpy")
    return {
        "pet": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


def write_config(folder: Path, config: PetConfig) -> None:
    write_text(folder / "config.yaml", yaml.safe_dump(states.plain(config), sort_keys=False, allow_unicode=True))


_COMBINED = "combined"


def write_combined(folder: Path, runs: Sequence[str], how: str, weights: str) -> None:
    """Writes what was combined and how, with the configuration of each run, where no run of its own was made."""
    whole = {"combine": how, "weights": weights, _COMBINED: {run: read_config(Path(run)) for run in runs}}
    write_text(folder / "config.yaml", yaml.safe_dump(whole, sort_keys=False, allow_unicode=True))


def combined_of(values: Mapping[str, Any]) -> list[str]:
    """The runs that were combined, where `write_combined` wrote these values; none of any other configuration."""
    found = values.get(_COMBINED)
    return list(map(str, found)) if isinstance(found, Mapping) else []


def write_run(
    folder: Path,
    config: PetConfig,
    metrics: Mapping[str, Any],
    predictions: list[dict[str, Any]],
    splits: Mapping[str, Split],
) -> None:
    """Writes what is equal byte for byte whenever the run is repeated."""
    write_config(folder, config)
    drawn = {name: [example.row for example in splits[name].examples] for name in ("train", "dev") if name in splits}
    write_json(folder / "sample.json", drawn)
    write_jsonl(folder / "predictions.jsonl", predictions)
    write_json(folder / "metrics.json", metrics)


def softmax(scores: Any) -> np.ndarray:
    """Label probabilities of label scores `[..., labels]`, in float64."""
    own = np.asarray(scores, dtype=np.float64)
    own = np.exp(own - own.max(axis=-1, keepdims=True))
    shares: np.ndarray = own / own.sum(axis=-1, keepdims=True)
    return shares


def answers(
    target: Target, probabilities: np.ndarray, candidates: Sequence[Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """What is written of texts: of each what is predicted, and each label's probability with six digits.

    Args:
        probabilities: `[texts, labels]`, or `[texts, candidates]`.
        candidates: of each text, where it brings its own.
    """
    found = []
    for number, (said, line) in enumerate(zip(target.predicted(probabilities), probabilities, strict=True)):
        own = candidates[number] if candidates else ()
        names = target.columns(own)
        found.append({"predicted": target.shown(said, own), "probabilities": by_label(names, line[: len(names)])})
    return found


def by_label(labels: Sequence[str], probabilities: np.ndarray) -> dict[str, float]:
    """Probabilities `[labels]` by the labels' names, in their order, with six digits."""
    return {label: float(f"{p:.6g}") for label, p in zip(labels, probabilities, strict=True)}


def write_timing(folder: Path, timing: Mapping[str, Any]) -> None:
    write_json(folder / "timing.json", timing)


def point_latest(folder: Path) -> None:
    """Points `outputs/latest` at the folder, where it lies in a folder named outputs."""
    root = next((parent for parent in folder.parents if parent.name == "outputs"), None)
    if root is None:
        return
    link = root / "latest"
    if link.exists() and not link.is_symlink():
        return
    temporary = root / f".latest.{os.getpid()}"
    try:
        temporary.symlink_to(folder.relative_to(root))
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)  # a file system without links


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics of a finished run. Raises `UserError` where there are none."""
    metrics = read_object(folder / "metrics.json")
    try:
        score(metrics)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder / 'metrics.json'} is damaged: no score.") from None
    return metrics


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved configuration of a finished run. Raises `UserError` where there is none."""
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"{folder} is not the folder of a finished run (no config.yaml).")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML)
    except (yaml.YAMLError, OSError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} cannot be read: it is not a mapping.")
    return values
