"""What a run says when it ends, in ten lines of 80 columns: what was done, is it any good, what to type next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pet_cli.base.files import read_object
from pet_cli.config import files as conf_files
from pet_cli.config import registry
from pet_cli.runs import states, store
from pet_cli.tasks import metrics as task_metrics

WIDTH = 80
_NAME = 10  # columns of the name in front of each line; a longer one takes its own


def lines(folder: Path, further: bool = True, config_dir: str | None = None) -> list[str]:
    """The account of a finished run, from its folder alone.

    Args:
        further: whether it says where the results lie and what to type next.
        config_dir: the user's own folder of configs, without which the next command would not know them.
    """
    config, metrics = store.read_config(folder), store.read_metrics(folder)
    if (folder / "account.json").is_file():  # a run of an earlier version has none
        metrics = read_object(folder / "account.json") | metrics
    timing = read_object(folder / "timing.json") if (folder / "timing.json").is_file() else {}
    found = [
        ("task", _task(config)),
        ("model", _model(config, metrics)),
        ("template", metrics.get("template")),
        ("words", _words(metrics.get("words") or {})),
        ("trained", _trained(config, metrics, timing)),
        (task_metrics.score(metrics)[0], _score(metrics)),
        ("beside", _beside(metrics)),
        ("members", _members(metrics)),
        ("verdict", verdict(metrics)),
        *(("note", note) for note in metrics.get("warnings") or ()),
    ]
    if further:
        next_ = _sweep(config, folder, config_dir)
        found += [("results", str(shown(folder))), ("next", _predict(config, folder)), ("", next_)]
    whole = ("note", "results", "next", "")  # a part of a path or command is of no use
    named = [(f"{_titled(name):<{_NAME - 2}}  ", name in whole, text) for name, text in found if text]
    return [name + (text if as_it_is else cut(text, WIDTH - len(name))) for name, as_it_is, text in named]


def shown(folder: Path) -> Path:
    """A folder as it is typed: from here where it lies below."""
    try:
        return folder.resolve().relative_to(Path.cwd().resolve())
    except ValueError:
        return folder


def cut(text: str, width: int) -> str:
    """A line that fits."""
    if len(text) <= width:
        return text
    return text[: width - 1].rstrip() + "…"


def _titled(name: str) -> str:
    return task_metrics.title(name) if task_metrics.is_metric(name) else name


def _task(config: Mapping[str, Any]) -> str:
    name = str(config["task"]["name"])
    about = conf_files.about("task", name) if name in conf_files.options("task") else ""
    what = re.split(r"(?<=[?.]) ", about.partition(": ")[2])[0]  # without who made it and where it lies
    path = config["data"].get("path")
    return f"{name}: {what or about}" if about and name != "custom" else f"{name}, {path}"


def _model(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    model = metrics.get("model")
    method, tuning = config["method"]["name"], config["tuning"]["name"]
    how = f"tuning={tuning}" if tuning != "none" else f"method={method}"
    if _several(config):
        how += f", ensemble={config['ensemble']['name']}"
    if model is None:
        return f"method={method}, no language model"
    return f"{model['name']} ({model['kind']}, {_count(model['parameters'])} parameters), {how}"


def _several(config: Mapping[str, Any]) -> bool:
    """Whether a run's configuration asks for an ensemble."""
    return bool(registry.settings_class("ensemble", config["ensemble"]["name"]).several)


def _uses_prompts(config: Mapping[str, Any]) -> bool:
    """Whether patterns make a difference: not to a method without a language model, nor to a classifier."""
    if not registry.settings_class("method", config["method"]["name"]).tunes:
        return False
    return bool(registry.settings_class("tuning", config["tuning"]["name"]).uses_prompt)


def _count(number: int) -> str:
    """`14.9 M` for 14,935,936."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _words(words: Mapping[str, Iterable[str]]) -> str:
    return " · ".join(f"{label}: {', '.join(own)}" for label, own in words.items())


def _trained(config: Mapping[str, Any], metrics: Mapping[str, Any], timing: Mapping[str, Any]) -> str:
    seconds = timing.get("seconds", {})
    total = f"{seconds['total']:.0f} s in all" if "total" in seconds else ""
    if not metrics.get("n_train"):
        return f"nothing: no examples used; {total}".rstrip("; ")
    counts = metrics.get("train_counts") or {}
    each = set(counts.values())
    if len(each) == 1 and len(counts) > 1:
        on = f"{each.pop()} examples of each of {len(counts)} labels"
    elif counts and len(counts) <= 6:
        on = " + ".join(f"{n} {label}" for label, n in counts.items())
    else:
        on = f"{metrics['n_train']} examples"
    if not metrics.get("steps"):
        of = "nothing: demonstrations of " if (config.get("demonstrations") or {}).get("per_label") else ""
        return f"{of}{on}; {total}".rstrip("; ")
    train = f" in {seconds['train']:.0f} s" if "train" in seconds else ""
    return f"{on}, {metrics['steps']} steps{train}" + (f"; {total}" if total else "")


def _score(metrics: Mapping[str, Any]) -> str:
    name, value = task_metrics.score(metrics)
    text = f"{value:.3f}"
    if metrics.get("interval"):
        low, high = metrics["interval"]
        text += f" (95 %: {low:.3f} to {high:.3f})"
    text += f" on {metrics['n_test']:,} test examples"
    others = [(title, metrics[other]) for other, title in task_metrics.titled(metrics).items() if other != name]
    return text + "".join(f", {title} {number:.3f}" for title, number in others[:1])


def _beside(metrics: Mapping[str, Any]) -> str:
    marks = metrics.get("marks") or {}
    told = {"majority": "always the commonest label", "zero_shot": "zero-shot with this prompt"}
    return ", ".join(f"{told[name]} {value:.3f}" for name, value in marks.items() if value is not None)


def _members(metrics: Mapping[str, Any]) -> str:
    if "members" not in metrics:
        return ""
    own, n = metrics["members_score"], len(metrics["members"])
    text = f"{n}, mean {own['mean']:.3f} ({own['worst_score']:.3f} to {own['best_score']:.3f}, {own['best']})"
    if "ensemble" in metrics:
        text += f"; ensemble {metrics['ensemble']['score']:.3f}, then its student"
    if len(metrics.get("generations") or []) > 1:
        text += "; by generation " + ", ".join(f"{one['score']:.3f}" for one in metrics["generations"])
    return text


def verdict(metrics: Mapping[str, Any]) -> str:
    """A sentence where training did not help, or nothing was learned; empty where all is well."""
    marks = metrics.get("marks") or {}
    value = task_metrics.score(metrics)[1]
    low = (metrics.get("interval") or [value])[0]
    zero_shot, majority = marks.get("zero_shot"), marks.get("majority")
    if majority is not None and value <= majority:
        return "No better than always saying the commonest label."
    if zero_shot is not None and value <= zero_shot:
        return "Training did not help: the model as it is does as well."
    if zero_shot is not None and low <= zero_shot:
        return "Better than zero-shot, but on too few test examples to be sure."
    return ""


def _predict(config: Mapping[str, Any], folder: Path) -> str:
    texts = " ".join(['--text "..."'] * max(1, len(config["task"]["fields"])))
    latest = Path("outputs/latest")
    name = latest if latest.exists() and latest.samefile(folder) else shown(folder)
    return f"pet predict {shlex.quote(str(name))} {texts}"


def _sweep(config: Mapping[str, Any], folder: Path, config_dir: str | None) -> str:
    """The run's own command as a sweep over its patterns and three seeds; of an ensemble, the report of it."""
    state = states.read(folder)
    given = [one for one in state.get("overrides", []) if one.partition("=")[0] not in ("seed", "pattern")]
    given = [one for one in given if not one.startswith(("hydra.", "resume="))]
    patterns = len(config["task"]["patterns"] or [])
    if _several(config):
        return f"pet report {shlex.quote(str(shown(folder)))}"
    if patterns > 1 and not config.get("template") and _uses_prompts(config):
        found = len((config.get("found") or {}).get("templates", []))
        names = [f"{letter}{i}" for letter, n in (("p", patterns), ("f", found)) for i in range(min(3, n))]
        given.append("pattern=" + ",".join(names))
    own = ["--config-dir", config_dir] if config_dir else []
    return " ".join(["pet train -m", *map(shlex.quote, [*own, *given]), "seed=13,21,42"])
