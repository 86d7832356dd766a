"""What a sweep's command does about choice: scores its runs by the rules of `select`, and names the winners."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pet_cli.choice import scores, winners
from pet_cli.config.choice import selected, within
from pet_cli.config.schema import PetConfig
from pet_cli.runs import states

if TYPE_CHECKING:
    from pet_cli.base.progress import Progress
    from pet_cli.methods import Method
    from pet_cli.runs.session import Session

_MOST_LINES = 12


def asked(configs: Sequence[PetConfig]) -> dict[str, list[str]]:
    """What a sweep's plan says of choice; empty where nothing is to be chosen. Raises `UserError` (`check_sweep`)."""
    winners.check_sweep(configs)
    rules = list(dict.fromkeys(rule for config in configs for rule in selected(config)))
    return {"select": rules, "within": within(configs[0])} if rules else {}


def score(config: PetConfig, folder: Path, session: Session, progress: Progress, method: Method | None) -> str:
    """Scores a finished run by the rules that it lacks; what is to be said of those that could not.

    Whoever looks meanwhile finds a run that is done, and that this process is still at.
    """
    states.hold(folder)
    try:
        refused = scores.add(config, folder, session, progress, method)
    finally:
        states.finish(folder, "done")
    return "".join(f"; no score by {rule}: {why}" for rule, why in refused.items())


def tell(folder: Path, plan: Mapping[str, Any], varied: Sequence[str]) -> bool:
    """Names the winners of a sweep, in `choice.json` and on the terminal; whether each rule named one everywhere.

    Args:
        varied: the keys that differ between the sweep's runs.
    """
    told = winners.choose(folder, plan["select"], plan["within"])
    lines = []
    for group in told["groups"]:
        own = " ".join(f"{key}={value}" for key, value in group["given"].items() if value is not None)
        keys = [key for key in varied if key not in group["given"]]
        for rule, chosen in group["winners"].items():
            run = "none" if chosen is None else f"{_name(folder / chosen['run'], keys)} ({chosen['score']:g})"
            lines.append(f"{rule} ({own}): {run}")
    print("\nChosen without the test labels:")
    print("\n".join(lines[:_MOST_LINES]))
    if len(lines) > _MOST_LINES:
        print(f"… and {len(lines) - _MOST_LINES} more")
    shown = shlex.quote(str(folder))
    print(f"{folder / winners.FILE}; pet predict {shown} --choice {plan['select'][0]} labels texts with a winner")
    for group in told["groups"]:
        for rule, runs in group.get("lacking", {}).items():
            name, why = next(iter(runs.items()))
            more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
            print(f"pet: select: {rule} names no winner, since {name}{more} lacks a score: {why}", file=sys.stderr)
    return not any("lacking" in group for group in told["groups"])


def _name(folder: Path, keys: Sequence[str]) -> str:
    """A run by what sets it apart, or else by its folder."""
    said = [one for one in states.read(folder).get("overrides", []) if one.lstrip("+").partition("=")[0] in keys]
    return " ".join(said) or folder.name
