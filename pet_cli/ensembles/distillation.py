"""PET and iPET: an ensemble labels text that nobody labeled, and one classifier learns from it.

Schick & Schütze, "Exploiting Cloze Questions for Few Shot Text Classification and Natural Language Inference", EACL
2021 (PET, iPET), and "It's Not Just Size That Matters", NAACL 2021.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from pet_cli.base.files import write_jsonl
from pet_cli.config import resolve
from pet_cli.config.ensemble import IpetEnsemble, NoEnsemble, PetEnsemble
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Example, Split
from pet_cli.ensembles.members import EnsembleRun, MemberResult, ensemble_scores, members, run_member
from pet_cli.errors import UserError
from pet_cli.methods.prompted import PromptMethod
from pet_cli.runs import store


def write_soft_labels(run: EnsembleRun, scores: np.ndarray) -> None:
    """The unlabeled rows with the ensemble's log-probabilities `[texts, labels]` and the soft labels made of them."""
    labels = resolve.labels(run.config)
    soft = soft_labels(run.config, scores)
    rows = [
        {
            "row": example.row,
            "scores": {label: float(f"{s:.7g}") for label, s in zip(labels, line, strict=True)},
            "soft": store.by_label(labels, probabilities),
        }
        for example, line, probabilities in zip(run.splits["unlabeled"].examples, scores, soft, strict=True)
    ]
    write_jsonl(run.folder / "soft_labels.jsonl", rows)


def soft_labels(config: PetConfig, scores: np.ndarray) -> np.ndarray:
    """What the student learns, label probabilities `[texts, labels]`: the ensemble's at the temperature."""
    return store.softmax(scores / config.ensemble.temperature)


def student_config(config: PetConfig) -> PetConfig:
    """The settings of the classifier (or PVP) that learns from the soft labels."""
    ensemble: PetEnsemble = config.ensemble
    trainer = replace(
        config.trainer,
        max_steps=ensemble.student_steps,
        batch_size=ensemble.student_batch_size,
        learning_rate=ensemble.student_learning_rate or config.trainer.learning_rate,
        class_weights="none",
    )
    none = replace(config.demonstrations, per_label=0)  # its texts have no labels that could be shown
    student = replace(config, tuning=ensemble.student_tuning, ensemble=NoEnsemble(name="none"), trainer=trainer)
    student = replace(student, demonstrations=none)
    if ensemble.student == "classifier":
        return student
    return replace(resolve.member_config(student, *ensemble.student), trainer=trainer)


def distil(run: EnsembleRun, scores: np.ndarray) -> PromptMethod:
    """The student, trained on the unlabeled texts with the ensemble's soft labels."""
    # The label index of an unlabeled example is never read: the soft labels take its place.
    texts = tuple(Example(e.row, e.fields, 0) for e in run.splits["unlabeled"].examples)
    student = PromptMethod.build(student_config(run.config), run.context)
    soft = torch.from_numpy(soft_labels(run.config, scores)).float()
    student.fit({"train": Split("train", texts)}, soft=soft, temperature=run.config.ensemble.temperature)
    return student


def next_generation(run: EnsembleRun, results: Sequence[MemberResult], number: int) -> list[MemberResult]:
    """iPET's step: every model again from the pretrained weights, on a set that a share of the others labeled.

    A member counts what it counted: its weight by PET's rule is of the original examples.
    """
    new = []
    for index, (member, before) in enumerate(zip(members(run.config), results, strict=True)):
        others = [one for other, one in enumerate(results) if other != index]
        splits = {**run.splits, "train": grown(run, others, number, member.name)}
        folder = run.folder / "members" / f"generation-{number}" / member.name
        with run.context.progress.within(f"member {index + 1} of {len(results)} {member.name}"):
            new.append(run_member(run, member, before.weight, splits, folder))
    return new


def grown(run: EnsembleRun, others: Sequence[MemberResult], number: int, name: str) -> Split:
    """A member's training set in a generation: the original examples and newly labeled ones.

    A random share `ensemble.subset` of the other members labels the unlabeled texts. Of each label as many are taken
    as keep the proportions of the original examples while the whole grows by `ensemble.growth` in each generation;
    which ones is drawn with the confidence of their label as weight.
    """
    ensemble = run.config.ensemble
    draw = random.Random(f"{run.config.trainer.seed}/{number}/{name}")
    subset = draw.sample(list(others), max(1, round(ensemble.subset * len(others))))
    probabilities = store.softmax(ensemble_scores(run.config, subset, run.splits, "unlabeled"))
    confidence, label = probabilities.max(axis=1), probabilities.argmax(axis=1)
    original = run.splits["train"].examples if "train" in run.splits else ()
    wanted = new_counts(original, len(resolve.labels(run.config)), number, ensemble)
    chosen: list[Example] = []
    unlabeled = run.splits["unlabeled"].examples
    for index, count in enumerate(wanted):
        own = [i for i in range(len(unlabeled)) if label[i] == index]
        # Efraimidis & Spirakis: the largest u^(1/w) are a weighted draw without replacement.
        keys = {i: draw.random() ** (1 / max(float(confidence[i]), 1e-6)) for i in own}
        best = sorted(own, key=lambda i: (-keys[i], i))[:count]
        chosen += [Example(-1 - unlabeled[i].row, unlabeled[i].fields, index) for i in sorted(best)]
    return Split("train", (*original, *chosen))


def new_counts(original: Sequence[Example], n_labels: int, number: int, ensemble: IpetEnsemble) -> list[int]:
    """How many examples of each label to add in generation `number` (from 1).

    From no examples at all, the first set holds `ensemble.first`, balanced over labels.
    """
    if not original:
        total = ensemble.first * ensemble.growth ** (number - 1)
        return [round(total / n_labels)] * n_labels
    have = Counter(example.gold for example in original)
    return [round(have[index] * (ensemble.growth**number - 1)) for index in range(n_labels)]


def check_growth(config: PetConfig, n_unlabeled: int, n_original: int) -> None:
    """Raises `UserError` where the last generation asks for more texts than there are."""
    ensemble = config.ensemble
    if not isinstance(ensemble, IpetEnsemble):
        return
    last = ensemble.generations
    total = (
        ensemble.first * ensemble.growth ** (last - 1) if not n_original else n_original * (ensemble.growth**last - 1)
    )
    if total > n_unlabeled:
        raise UserError(
            f"ensemble.growth={ensemble.growth}: generation {last} asks for {total:.0f} new examples, and there are "
            f"{n_unlabeled} unlabeled texts. Give a smaller growth, fewer generations, or more texts."
        )
