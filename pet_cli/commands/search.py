"""`pet search template` and `pet search verbalizer`: a run's settings, and a group `search` beside them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pet_cli.commands.compose import check_files, compose
from pet_cli.commands.overrides import value_of
from pet_cli.config import files
from pet_cli.config.build import option
from pet_cli.config.search import WHAT
from pet_cli.config.search import Search as Settings
from pet_cli.errors import UserError, not_allowed

if TYPE_CHECKING:
    from pet_cli.search.bench import Bench, Scored

_DEFAULT = "rules"
_FOLDER = "hydra.run.dir"


def search(what: str | None, overrides: Sequence[str], config_dir: str | None = None) -> int:
    """Searches and prints the best; going on in the folder where the same search has stopped."""
    if what is None:
        asked = " or ".join(f"pet search {one}" for one in WHAT)
        raise UserError(f"{asked}; pet list searches names the ways.")
    if what not in WHAT:
        raise not_allowed("pet search", what, WHAT)
    if sweep := next((one for one in overrides if one in ("-m", "--multirun")), None):
        raise UserError(f"{sweep}: one search at a time; sweep over what it found, pet train -m found=FOLDER.")
    own = {
        key: value for key, value in map(_parts, overrides) if key in ("search", _FOLDER) or key.startswith("search.")
    }
    rest = [one for one in overrides if _parts(one)[0] not in own]
    settings = _settings(own, config_dir)
    config = compose(rest, config_dir, learns=False, asks=what == "template")
    settings.check_run(what, config)
    from pet_cli.base.progress import Progress
    from pet_cli.search.run import default_folder
    from pet_cli.search.run import search as run  # torch is loaded here, once the configuration is known to be good

    folder = _folder(own[_FOLDER]) if _FOLDER in own else default_folder(what, config, settings)
    bench = run(what, config, settings, folder, Progress())
    _show(what, bench, folder)
    return 0


def _parts(override: str) -> tuple[str, Any]:
    key, _, value = override.partition("=")
    return key.strip().lstrip("+"), value.strip()


def _folder(text: str) -> Path:
    """The folder of `hydra.run.dir`, perhaps in quotes as for a run."""
    value = value_of(_FOLDER, text)
    return Path(value if isinstance(value, str) else text).expanduser()


def _settings(given: dict[str, str], config_dir: str | None) -> Settings:
    """The settings of the search that is chosen, by `search=NAME` or by `search.by=NAME`."""
    name = given.get("search.by", given.get("search.name", given.get("search", _DEFAULT)))
    if len({given[key] for key in ("search", "search.by", "search.name") if key in given}) > 1:
        raise UserError(f"search={given.get('search', _DEFAULT)} and search.by={name}: one of them is enough.")
    check_files([f"search={name}"], config_dir)
    keys = {key: key.removeprefix("search.") for key in given if key.startswith("search.")}
    changes = {last: value_of(key, given[key]) for key, last in keys.items() if last not in ("by", "name")}
    if (writer := changes.get("generator")) in _own_models(config_dir):
        check_files([f"model={writer}"], config_dir)
        changes["generator"] = files.read("model", writer, config_dir)
    found: Settings = option("search", name, config_dir, **changes)
    found.check("search")
    return found


def _own_models(config_dir: str | None) -> list[str]:
    """The models of the user's own folder of configs, which only the command line knows."""
    return [name for name in files.options("model", config_dir) if name not in files.options("model")]


def _show(what: str, bench: Bench, folder: Path) -> None:
    from pet_cli.commands.tables import console, plain_table

    out = console()
    ways = [way for way in bench.ways if any(way in one.scores for one in bench.known.values())]
    table = plain_table(what, *(way.replace("_", "-") for way in ways or ["information"]))
    marks = [one for one in bench.ranked() if one.candidate.hand_written]
    for name, one in bench.names().items():
        table.add_row(_line(name, one), *_cells(one, ways))
    for one in marks[:3]:
        table.add_row(_line(one.candidate.origin, one), *_cells(one, ways))
    out.print(table)
    scored = [one for one in bench.found if one.texts]
    on = f"{len(bench.texts)} {'examples' if ways else 'unlabeled texts'}"
    out.print(f"{len(scored)} found and scored on {on}; best of those in {folder}", soft_wrap=True)
    ended = [f"ended by {bench.budget}; the same command with more of it goes on"] if bench.stopped else []
    for note in [*bench.notes, *ended]:
        out.print(note, soft_wrap=True)
    first = "pattern=f0" if what == "template" else f"verbalizer=f0{_combined(bench)}"
    out.print(f"next      pet train found={shlex.quote(str(folder))} {first} …", soft_wrap=True)


def _combined(bench: Bench) -> str:
    """How the words' scores combine, for a run to do likewise."""
    how = getattr(bench.config.scoring, "combine", "mean")
    return "" if how == "mean" else f" scoring.combine={how}"


def _line(name: str, one: Scored) -> str:
    written = one.candidate.written
    if not isinstance(written, str):
        written = ", ".join(f"{label}: {_words(words)}" for label, words in written.items())
    return f"{name}  {written}"


def _words(words: Any, most: int = 5) -> str:
    if isinstance(words, str):
        return words
    more = f" / … ({len(words)})" if len(words) > most else ""
    return " / ".join(list(words)[:most]) + more


def _cells(one: Scored, ways: Sequence[str]) -> list[str]:
    if not ways:
        return [f"{one.information:.3f}"]
    return [f"{one.scores[way].score:.3f}" if way in one.scores else "–" for way in ways]
