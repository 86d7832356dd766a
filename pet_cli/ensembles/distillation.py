"""PET and iPET: an ensemble labels text that nobody labeled, and one classifier learns from it.

Schick & Schütze, "Exploiting Cloze Questions for Few Shot Text Classification and Natural Language Inference", EACL
2021 (PET, iPET), and "It's Not Just Size That Matters", NAACL 2021.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from pet_cli.base.files import write_jsonl
from pet_cli.config import files as conf_files
from pet_cli.config import resolve
from pet_cli.config.ensemble import IpetEnsemble, NoEnsemble, PetEnsemble
from pet_cli.config.schema import PetConfig
from pet_cli.config.tuning import ClassifierTuning, FullTuning
from pet_cli.data.examples import Example, Split
from pet_cli.ensembles.members import Said, Stage, members, run_member, together
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.methods.prompted import PromptMethod
from pet_cli.runs import store


def overlap_notes(splits: Mapping[str, Split]) -> list[str]:
    """A warning where unlabeled texts are test texts."""
    test = {tuple(example.fields.values()) for example in splits["test"].examples}
    same = sum(tuple(example.fields.values()) in test for example in splits["unlabeled"].examples)
    return [f"{same} of {len(splits['unlabeled'])} unlabeled texts are also in the test split"] if same else []


def write_soft_labels(stage: Stage, scores: Tensor) -> None:
    """The unlabeled rows with the ensemble's log-probabilities and the soft labels at the temperature."""
    temperature = stage.config.ensemble.temperature
    labels = resolve.labels(stage.config)
    soft = store.softmax(scores / temperature)
    rows = [
        {
            "row": example.row,
            "scores": {label: float(f"{s:.7g}") for label, s in zip(labels, line.tolist(), strict=True)},
            "soft": store.by_label(labels, probabilities),
        }
        for example, line, probabilities in zip(stage.splits["unlabeled"].examples, scores, soft, strict=True)
    ]
    write_jsonl(stage.out / "soft_labels.jsonl", rows)


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
    student = replace(config, ensemble=NoEnsemble(), trainer=trainer)
    if ensemble.student == "classifier":
        values = conf_files.read("tuning", "classifier")
        values["head_learning_rate"] = float(values["head_learning_rate"])
        return replace(student, tuning=ClassifierTuning(**values))
    pattern, verbalizer = ensemble.student
    tuning = FullTuning(**conf_files.read("tuning", "full")) if config.tuning.name == "zero_shot" else config.tuning
    student = replace(resolve.member_config(student, pattern, verbalizer), trainer=trainer)
    return replace(student, tuning=tuning)


def distil(stage: Stage, scores: Tensor) -> PromptMethod:
    """The student, trained on the unlabeled texts with the ensemble's soft labels."""
    config = student_config(stage.config)
    temperature = stage.config.ensemble.temperature
    # The label index of an unlabeled example is never read: the soft labels take its place.
    texts = tuple(Example(e.row, e.fields, 0) for e in stage.splits["unlabeled"].examples)
    student = PromptMethod.build(config, Context(stage.session, stage.clock, stage.progress))
    student.fit({"train": Split("train", texts)}, soft=(scores / temperature).softmax(dim=1), temperature=temperature)
    return student


def next_generation(stage: Stage, said: Sequence[Said], number: int) -> list[Said]:
    """iPET's step: every model again from the pretrained weights, on a set that a share of the others labeled."""
    found = members(stage.config)
    title = stage.progress.prefix
    new = []
    for index, member in enumerate(found):
        others = [one for other, one in enumerate(said) if other != index]
        train = grown(stage, others, number, member.name)
        stage.progress.prefix = f"{title} member {index + 1} of {len(found)}"
        splits = {**stage.splits, "train": train}
        new.append(run_member(member, stage, splits, stage.out / "members" / f"generation-{number}" / member.name))
    stage.progress.prefix = title
    return new


def grown(stage: Stage, others: Sequence[Said], number: int, name: str) -> Split:
    """A member's training set in a generation: the original examples and newly labeled ones.

    A random share `ensemble.subset` of the other members labels the unlabeled texts. Of each label as many are taken
    as keep the proportions of the original examples while the whole grows by `ensemble.growth` in each generation;
    which ones is drawn with the confidence of their label as weight.
    """
    ensemble = stage.config.ensemble
    draw = random.Random(f"{stage.config.trainer.seed}/{number}/{name}")
    subset = draw.sample(list(others), max(1, round(ensemble.subset * len(others))))
    probabilities = together(stage.config, subset, stage.splits, "unlabeled").softmax(dim=1)
    confidence, label = probabilities.max(dim=1)
    original = stage.splits["train"].examples if "train" in stage.splits else ()
    wanted = new_counts(original, len(resolve.labels(stage.config)), number, ensemble)
    chosen: list[Example] = []
    unlabeled = stage.splits["unlabeled"].examples
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
    have = Counter(example.label for example in original)
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
