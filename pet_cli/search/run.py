"""A search for prompts in its folder: begun, or gone on with, until it has no more or its budget is spent."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from pet_cli.base.clock import Clock
from pet_cli.base.files import locked, read_json, read_jsonl, remove_partial, write_json, write_text
from pet_cli.base.progress import Progress
from pet_cli.base.values import canonical
from pet_cli.config import found, registry, resolve
from pet_cli.config.found import Found
from pet_cli.config.schema import PetConfig
from pet_cli.config.search import BUDGET
from pet_cli.config.search import Search as Settings
from pet_cli.data import folders
from pet_cli.data import load as data
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.models import places
from pet_cli.prompts.template import Template
from pet_cli.runs import states, store
from pet_cli.runs.session import Session
from pet_cli.search.base import Candidate, Looked
from pet_cli.search.bench import CANDIDATES, Bench, Spent
from pet_cli.version import __version__

SETTINGS, LOOKED = "search.yaml", "looked.json"
_TO_PROPOSE = 0.6
"""The part of the minutes after which nothing new is scored, where the best are to be cross-validated after it."""


def fingerprint(what: str, config: PetConfig, settings: Settings) -> str:
    """Identifies what candidates are worth: all but the budget, with the files that are read and the code's version."""
    own = {key: value for key, value in asdict(settings).items() if key not in BUDGET}
    told = [
        *(what, own, states.computed(config), states.model_stamp(config)),
        *(data.stamp(config.task, config.data, scored=False), __version__, *map(places.stamp, settings.models)),
        *_read_by(settings),
    ]
    return hashlib.sha256(canonical(told).encode()).hexdigest()[:16]


def _read_by(settings: Settings) -> list[tuple[str, str | None]]:
    """The contents of the files that the search's own keys name."""
    named = [Path(value).expanduser() for key in settings.reads if (value := getattr(settings, key)) is not None]
    every = [file for path in named for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return [(file.name, folders.stamp(file)) for file in every if not file.is_dir()]


def default_folder(what: str, config: PetConfig, settings: Settings) -> Path:
    """Where a search lies if nothing else is said; it follows from its settings, so that the same command goes on."""
    name = f"{config.task.name}_{what}_{settings.name}-{fingerprint(what, config, settings)[:6]}"
    return Path("outputs") / "search" / name


def search(what: str, config: PetConfig, settings: Settings, folder: Path, progress: Progress | None = None) -> Bench:
    """Searches, and writes the folder; what it holds of the same search counts.

    Raises:
        UserError: the folder holds something else, or the search lacks what it needs.
    """
    settings.check_run(what, config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"hydra.run.dir={folder}: {error.strerror}.") from None
    with locked(folder):
        remove_partial(folder)
        known = _claim(folder, fingerprint(what, config, settings))
        return _search(what, config, settings, folder, progress or Progress(enabled=False), known)


def _claim(folder: Path, mark: str) -> list[dict[str, Any]]:
    """What an earlier command of the same search knew. Raises `UserError` where the folder holds anything else.

    A search that was refused before it had found anything has no claim to its folder.
    """
    path = folder / LOOKED
    if path.is_file():
        known = _known(folder / CANDIDATES)
        looked = read_json(path)
        if not isinstance(looked, dict):
            raise UserError(f"{path} is damaged: it does not tell which search the folder holds.")
        if looked.get("fingerprint") == mark:
            return known
        if any(not line.get("hand_written") for line in known):
            raise UserError(f"{folder} holds another search, or its data or version have changed; give another folder.")
        return []
    if any(one.name != ".lock" for one in folder.iterdir()):
        raise UserError(f"hydra.run.dir={folder}: the folder is not empty, and holds no search. Give another.")
    return []


def _known(path: Path) -> list[dict[str, Any]]:
    try:
        rows = read_jsonl(path) if path.is_file() else []
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is damaged: a row of it is no candidate.")
    return rows


def _search(
    what: str, config: PetConfig, settings: Settings, folder: Path, progress: Progress, known: list[dict[str, Any]]
) -> Bench:
    clock, start = Clock(), time.perf_counter()
    session = Session(reuse=True, remembers=4096)
    with clock.phase("data"):
        splits = session.to_search(config)
    looked = Looked(splits["train"], splits["unlabeled"])
    if not len(looked.train) and not len(looked.unlabeled):
        raise UserError(
            "data.shots=0: without labeled examples a search ranks by unlabeled texts, and there are none; give a "
            "file named unlabeled, or data.unlabeled=train."
        )
    with clock.phase("model"):
        session.language_model(config)
    context = Context(session, clock, progress, folder)
    bench = Bench(config, settings, looked, context, folder)
    bench.take(known)
    _write_settings(what, config, settings, folder, looked)
    own = registry.implementation("search", settings.name)(what, config, settings, looked, bench)
    try:
        own.prepare()
        bench.score(hand_written(what, config))
        bench.share(_TO_PROPOSE if len(bench.ways) > 1 else 1.0)
        try:
            own.run()
        except Spent as spent:
            bench.stopped = str(spent)
        bench.share(1.0)
        _cross_validate(bench, settings)
    except Spent as spent:
        bench.stopped = str(spent)
    finally:
        bench.write()
        _write_looked(what, config, settings, folder, looked, bench.notes)
    if not bench.names():
        raise UserError(f"search={settings.name}: {_nothing(bench)}")
    _write_yaml(folder / found.FILE, asdict(_found(what, config, bench)))
    clock.seconds["total"] = time.perf_counter() - start
    _write_timing(folder, clock, bench)
    return bench


def _cross_validate(bench: Bench, settings: Settings) -> None:
    """The best found and all the hand-written with a trained head, then the best of those with the run's own tuning.

    Raises:
        Spent: no time is left.
    """
    for way, most in (("head", settings.finalists), ("tuned", settings.tuned)):
        if way not in bench.ways:
            continue
        before = "head" if way == "tuned" and "head" in bench.ways else "zero_shot"
        ranked = sorted(bench.ranked(), key=lambda one: one.by(before), reverse=True)
        best = [one for one in ranked if not one.candidate.hand_written][:most]
        marks = [one for one in ranked if one.candidate.hand_written]
        # The best of both come first: where the budget ends early, there is something to compare.
        chosen = [*best[:1], *marks[:1], *best[1:], *(marks[1:] if way == "head" else [])]
        with bench.context.progress.stage(way, len(chosen)) as advance:
            for one in chosen:
                bench.cross_validate(one, way)
                advance(1)


def hand_written(what: str, config: PetConfig) -> Iterator[Candidate]:
    """The task's own templates or label words, the marks beside what is found."""
    if what == "verbalizer":
        if isinstance(config.verbalizer, dict):
            yield Candidate(config.verbalizer, "verbalizer", hand_written=True)
        for index, words in enumerate(config.task.verbalizers):
            yield Candidate(words, f"v{index}", hand_written=True)
        return
    if config.template is not None:
        yield Candidate(config.template, "template", hand_written=True)
    for index, pattern in enumerate(config.task.patterns):
        template = Template.parse(pattern)  # one of other fields than the run's is refused where it is scored
        if template.masks == 1 and not template.soft:
            yield Candidate(pattern, f"p{index}", hand_written=True)


def _nothing(bench: Bench) -> str:
    if bench.stopped is not None:
        return f"nothing was scored within {bench.budget}; give more."
    refused = [one.refused for one in bench.found if one.refused]
    return f"nothing was found that can be used ({refused[0]})." if refused else "nothing was found."


def _found(what: str, config: PetConfig, bench: Bench) -> Found:
    """What a run takes; of the other kind, what `found=` had."""
    best: list[Any] = [one.candidate.written for one in bench.names().values()]
    before = config.found
    return Found(
        task=config.task.name,
        labels=resolve.labels(config),
        fields=list(config.task.fields),
        model=places.located(config.model.name),
        templates=best if what == "template" else list(before.templates) if before else [],
        verbalizers=best if what == "verbalizer" else list(before.verbalizers) if before else [],
    )


def _write_settings(what: str, config: PetConfig, settings: Settings, folder: Path, looked: Looked) -> None:
    _write_looked(what, config, settings, folder, looked)  # first: by it a command that goes on knows the folder
    values = {"what": what, "search": asdict(settings), **states.plain(config)}
    _write_yaml(folder / SETTINGS, values)


def _write_looked(
    what: str, config: PetConfig, settings: Settings, folder: Path, looked: Looked, notes: Sequence[str] = ()
) -> None:
    about = {
        "fingerprint": fingerprint(what, config, settings),
        "seed": {"data": config.data.seed, "trainer": config.trainer.seed},
        "versions": store.versions(),
        "train": [example.row for example in looked.train.examples],
        "unlabeled": [example.row for example in looked.unlabeled.examples],
        "notes": [*looked.train.notes, *looked.unlabeled.notes, *notes],
    }
    write_json(folder / LOOKED, about)


def _write_yaml(path: Path, values: dict[str, Any]) -> None:
    write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _write_timing(folder: Path, clock: Clock, bench: Bench) -> None:
    """What this command took, behind what earlier ones did: seconds by phase, where it stopped, all texts and steps."""
    path = folder / "timing.json"
    before = read_json(path)["commands"] if path.is_file() else []
    spent = {name: round(seconds, 3) for name, seconds in clock.seconds.items()}
    known = bench.known.values()
    counts = {"texts": sum(one.texts for one in known), "steps": sum(one.steps for one in known)}
    write_json(path, {"commands": [*before, {"seconds": spent, "stopped": bench.stopped, **counts}]})
