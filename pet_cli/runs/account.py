"""What a run says of itself beside its metrics, for whoever reads its folder: the model, the prompt filled with an
example, how sure the score is, and two honest marks on the same test examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pet_cli.config import nsp, resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.prompts.template import fill
from pet_cli.runs.outcome import answers, score
from pet_cli.runs.session import Session
from pet_cli.tasks.evaluation import interval


def account(
    config: PetConfig,
    session: Session,
    splits: Mapping[str, Split],
    scores: np.ndarray,
    zero_shot: np.ndarray | None,
) -> dict[str, Any]:
    """What `account.json` holds.

    Args:
        scores: label scores of the test examples, `[examples, labels]`.
        zero_shot: the same of the model as it is with the same prompt; None where there is no such mark.
    """
    test = splits["test"]
    found: dict[str, Any] = {
        "model": session.about_model(config),
        "interval": list(interval(answers(config, test, scores), resolve.metrics(config)[0])),
        "train_counts": counts(config, splits.get("train")),
        "marks": {
            "majority": majority(config, test),
            "zero_shot": None if zero_shot is None else score(config, test, zero_shot),
        },
    }
    pairs = config.method.asks_pairs
    if resolve.uses_prompt(config) or pairs:
        shown = splits["train"].examples[0] if splits.get("train") else test.examples[0]
        found["template"] = fill(nsp.asked(config) if pairs else resolve.prompt_template(config), shown.fields)
        if nsp.asks_labels(config) if pairs else config.task.target != "choice":
            found["words"] = {label: list(words) for label, words in resolve.verbalizer_words(config).items()}
    return found


def counts(config: PetConfig, train: Split | None) -> dict[str, int]:
    """How many training examples each label has; empty where examples have no single label."""
    if not train or config.task.target != "label":
        return {}
    gold = train.gold
    return {label: gold.count(index) for index, label in enumerate(resolve.labels(config))}


def majority(config: PetConfig, test: Split) -> float | None:
    """The task's score of always answering the commonest label of the test examples; None where there is none."""
    if config.task.target != "label":
        return None
    commonest = np.bincount(test.gold).argmax()
    always = np.zeros((len(test), len(resolve.labels(config))))
    always[:, commonest] = 1.0
    return score(config, test, always)
