"""What a run takes of its data: the sample it learns from, what chooses its checkpoint, test and unlabeled texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pet_cli.config import resolve
from pet_cli.config.ensemble import PetEnsemble
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Example, Split
from pet_cli.data.fields import repeated, text_key
from pet_cli.data.sampling import capped, k_shot, strata
from pet_cli.errors import UserError, choices


def draw(config: PetConfig, splits: Mapping[str, Split]) -> dict[str, Split]:
    """The run's data of what `load` has loaded: `train` and `dev` as drawn, `test` and `unlabeled` as capped.

    The notes of a split say what a reader of the results should know about it.

    Raises:
        UserError: no training or validation split where one is asked for, or too few examples.
    """
    wanted = config.data
    test = splits["test"]
    drawn = {"test": Split("test", tuple(capped(test.examples, wanted.max_test, wanted.seed)), notes=test.notes)}
    untrained = not resolve.learns(config)
    weighted = config.ensemble.weighing == "dev" or resolve.weighing(config) is not None
    if "train" in splits and (weighted or not untrained):
        drawn["train"], drawn["dev"] = _sample(config, splits)
        learned = Split("learned", (*drawn["train"].examples, *drawn["dev"].examples))
        drawn["test"] = _with_overlap(
            drawn["test"], learned, "test texts also stand among the training or development examples"
        )
        drawn["dev"] = _with_overlap(
            drawn["dev"], drawn["train"], "development texts also stand among the training examples"
        )
    elif not untrained and wanted.shots != 0:
        raise UserError("There is no training split; a file named train is needed, or tuning=zero_shot.")
    reads = isinstance(config.ensemble, PetEnsemble) or config.method.reads_unlabeled or config.trainer.mlm_alpha > 0
    unlabeled = _unlabeled(config, splits, drawn) if reads else splits.get("unlabeled")
    if unlabeled:
        few = drawn["unlabeled"] = _few(config, unlabeled)
        if reads:
            drawn["unlabeled"] = _with_overlap(few, drawn["test"], "unlabeled texts are also in the test split")
    return drawn


def draw_to_search(config: PetConfig, splits: Mapping[str, Split]) -> dict[str, Split]:
    """What a search for prompts may look at, of what `load(scored=False)` has loaded: the run's own sample as `train`,
    and `unlabeled` texts, as PET would take them. Each is empty where there is none, or none is asked for.

    Raises:
        UserError: no training split where `data.shots` asks for one, or too few examples.
    """
    wanted, sample = config.data, list[Example]()
    if wanted.shots != 0:
        if "train" not in splits:
            raise UserError("There is no training split; a file named train is needed, or data.shots=0.")
        own = wanted.dev_shots if wanted.dev is None else 0
        sample, _ = k_shot(
            splits["train"].examples, resolve.target(config), wanted.shots, wanted.seed, own, wanted.fewer == "take"
        )
    drawn = {"train": Split("train", tuple(sample))}
    unlabeled = _unlabeled(config, splits, drawn) or Split("unlabeled", ())
    return {**drawn, "unlabeled": _few(config, unlabeled)}


def draw_for_choice(config: PetConfig, splits: Mapping[str, Split]) -> dict[str, Split]:
    """What the rules that choose among runs look at, of what `load` has loaded; never a test label.

    Returns:
        `train` and `dev` as a run that trains draws them, though this one may not train; `unlabeled` as the run has
        it; `texts`, at most `choice.texts` without labels: those that PET would label (see `data.unlabeled`), or
        where there are none those of the training sample.
    """
    drawn = draw(config, splits)
    found: dict[str, Split] = {name: drawn[name] for name in ("train", "dev", "unlabeled") if name in drawn}
    if "train" not in found and "train" in splits and config.data.shots != 0:
        found["train"], found["dev"] = _sample(config, splits)
    source = _unlabeled(config, splits, found) or found.get("train")
    if source:
        texts = capped(source.examples, config.choice.texts, config.data.seed)
        bare = tuple(replace(example, gold=None) for example in texts)
        where = source.notes[-1] if source.name == "unlabeled" else "the training sample"
        found["texts"] = Split("texts", bare, notes=(where.removeprefix("unlabeled texts: "),))
    return found


def _sample(config: PetConfig, splits: Mapping[str, Split]) -> tuple[Split, Split]:
    """The training sample, and the development set that chooses the checkpoint."""
    wanted, target = config.data, resolve.target(config)
    fewer = wanted.fewer == "take"
    own = wanted.dev_shots if wanted.dev is None else 0
    train, dev = k_shot(splits["train"].examples, target, wanted.shots, wanted.seed, own, fewer)
    about_train = list(splits["train"].notes)
    about_dev: list[str] = []
    validation = splits.get("validation")
    if wanted.dev == "validation":
        if not validation:
            raise UserError(
                "data.dev=validation: there is no validation split with labels beside the one that is scored; "
                "data.dev_shots takes development examples from the training split."
            )
        dev = list(validation.examples)
        about_dev += validation.notes
        if wanted.dev_shots:
            dev, _ = k_shot(dev, target, wanted.dev_shots, wanted.seed, 0, fewer)
    elif validation and resolve.trains(config):
        about_dev.append(
            f"a validation split of {len(validation)} examples is there and chose nothing "
            "(data.dev=validation lets it choose the checkpoint)"
        )
    asked = wanted.dev_shots * len(strata(train, target))
    if fewer and len(dev) < asked:
        left = f"{len(dev)} of {asked} development examples" if dev else "no development set: the last step is kept"
        about_dev.append(f"data.fewer=take left {left}")
    if twice := repeated(example.fields for example in train):
        about_train.append(f"{twice} of {len(train)} training texts stand there more than once")
    there = target.strata([example.gold for example in train]).values()
    missing = [label for label, own in zip(target.labels, there, strict=False) if not own]
    if train and missing and target.kind in ("label", "labels"):
        about_train.append(f"no training example has the label {choices(missing)}")
    return Split("train", tuple(train), notes=tuple(about_train)), Split("dev", tuple(dev), notes=tuple(about_dev))


def _with_overlap(split: Split, other: Split, what: str) -> Split:
    """A split with a note where its texts are those of another: how many of them, and `what`."""
    known = {text_key(example.fields) for example in other.examples}
    same = sum(text_key(example.fields) in known for example in split.examples)
    return replace(split, notes=(*split.notes, f"{same} of {len(split)} {what}")) if same else split


def _few(config: PetConfig, unlabeled: Split) -> Split:
    """At most `data.max_unlabeled` of the unlabeled texts; the last note says where they are from, and how many are
    taken."""
    few = tuple(capped(unlabeled.examples, config.data.max_unlabeled, config.data.seed))
    notes = unlabeled.notes
    if notes and len(few) < len(unlabeled):
        notes = (*notes[:-1], f"{notes[-1]}, {len(few)} of them taken (data.max_unlabeled)")
    return Split("unlabeled", few, notes=notes)


def _unlabeled(config: PetConfig, splits: Mapping[str, Split], drawn: Mapping[str, Split]) -> Split | None:
    """PET's unlabeled texts: the unlabeled split, or what the draw left of the training split, without its labels."""
    own = splits.get("unlabeled")
    if config.data.unlabeled == "file" or (config.data.unlabeled == "auto" and own):
        note = (f"unlabeled texts: the unlabeled split, {len(own)} texts",) if own else ()
        return Split("unlabeled", own.examples, notes=own.notes + note) if own else None
    if "train" not in splits:
        return None
    sources = ("train",) if config.data.dev == "validation" else ("train", "dev")
    used = {example.row for name in sources if name in drawn for example in drawn[name].examples}
    test = splits.get("test")
    scored = {text_key(example.fields) for example in test.examples} if test else set()
    rest = tuple(
        Example(example.row, example.fields, None)
        for example in sorted(splits["train"].examples, key=lambda example: example.row)
        if example.row not in used and text_key(example.fields) not in scored
    )
    return Split("unlabeled", rest, notes=(f"unlabeled texts: the {len(rest)} training texts that were not drawn",))
