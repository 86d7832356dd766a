"""Rules that go by what runs answer on texts without labels: of one run, or of the runs of a group together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pet_cli.base.files import write_jsonl
from pet_cli.choice.candidate import Candidate
from pet_cli.choice.scores import ANSWERS
from pet_cli.runs import store
from pet_cli.runs.nats import information
from pet_cli.tasks.targets import Target


def mutual_information(run: Candidate) -> dict[str, Any]:
    """Between a text and the label predicted for it (Sorensen et al., ACL 2022)."""
    return {"score": information(store.softmax(run.said)), **_about(run)}


def answers(run: Candidate) -> dict[str, Any]:
    """Writes what a run answers beside its scores, to be compared with what the others do; no score by itself."""
    assert run.context.folder is not None
    told = store.answers(run.target, store.softmax(run.said))
    rows = [{"row": text.row, **own} for text, own in zip(run.texts.examples, told, strict=True)]
    write_jsonl(run.context.folder / ANSWERS, rows)
    return {"texts": run.texts.fingerprint, **_about(run)}


def agreement(probabilities: Sequence[np.ndarray], target: Target) -> list[float]:
    """How often each run answers as all of them together do, by their mean probabilities (Liao et al. 2022, who call
    such answers pseudo labels), `[runs]`.

    Args:
        probabilities: of each run, `[texts, labels]`.
    """
    together = target.predicted(np.mean(probabilities, axis=0))
    return [
        float(np.mean([a == b for a, b in zip(target.predicted(own), together, strict=True)])) for own in probabilities
    ]


def _about(run: Candidate) -> dict[str, Any]:
    return {"examples": len(run.texts), "of": run.texts.notes[-1]}
