"""Every key of `conf/train.yaml` and of the groups of configs, moved once: what must come out otherwise.

A key that a config file gains needs a row here, so that a key without effect is found.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from goldens import DATA, HERE, World, differences, found, read, vocabulary
from torch import nn

from pet_cli.config import files

pytestmark = pytest.mark.slow

CONF = Path(__file__).parent.parent / "conf"
NEAR = 1e-4
OTHER = object()
"""Not what it was before."""

Seen = dict[str, Any]


@dataclass(frozen=True)
class Move:
    """A key's new value and what it shows.

    Attributes:
        to: the value.
        within: settings of both runs, before and after: where the key has an effect at all.
        shows: place in what was seen -> `OTHER`, the values before and after, or the value after.
        keeps: places that must be as before.
        again: whether both runs are the second ones in their folder.
    """

    to: str
    within: tuple[str, ...] = ()
    shows: dict[str, Any] = field(default_factory=lambda: {"predictions": OTHER})
    keeps: tuple[str, ...] = ("code", "sample")
    model: str = "bert"
    again: bool = False


def _length(*, most: bool = False, dropout: str = "true") -> dict[str, Move]:
    """What the modes that train say of how fast and how long they train: eight examples, one batch of them a pass."""
    free = ("trainer.max_steps=null", *(["tuning.most_epochs=null"] if most else []))
    # Two steps come of one pass twice where the least are one: by default there would be a hundred, or three passes.
    rows = {
        "learning_rate": Move("0.0123", shows={"metrics.learning_rate": OTHER, "predictions": OTHER}),
        "epochs": Move("2", (*free, "tuning.min_steps=1"), {"metrics.steps": 2}, ()),
        "min_steps": Move("1", (*free, "tuning.epochs=2"), {"metrics.steps": 2}, ()),
    }
    if most:
        few = ("trainer.max_steps=null", "tuning.epochs=1", "tuning.min_steps=6")
        rows["most_epochs"] = Move("2", few, {"metrics.steps": (6, 2)})
    return rows if not dropout else {**rows, "dropout": Move(dropout)}


_SOFT = ("template={soft} {text} It was {mask}.",)
_WORDS = ("verbalizer=v2",)
_LEARNED = (*_WORDS, "scoring.combine=learned", "tuning=zero_shot")
_COMMAS = (f"data.path={DATA / 'commas'}", "data.shots=2")
_COLUMNS = (f"data.path={DATA / 'columns'}", "data.shots=2")
_PET = ("ensemble=pet", "ensemble.patterns=[p0,p1]", "ensemble.seeds=1", "ensemble.student_steps=3")
_IPET = ("ensemble.seeds=1", "ensemble.student_steps=3", "data.shots=1", "ensemble.generations=1", "ensemble.growth=2")
_SHOWN = ("demonstrations.per_label=1",)
_TWO = ("ensemble.patterns=[p0,p1]",)
_TWO_PVPS = ("ensemble.pvps=[[p0,v0],[p1,v1]]",)

_RUN: dict[str, Move] = {
    "task": Move("pairs", (f"data.path={DATA / 'pairs'}",), {"code": (2, 0)}, ()),
    "method": Move("tfidf", shows={"predictions": OTHER, "files": OTHER}),
    "model": Move("random", ("model=embedded", "tuning=zero_shot"), keeps=("code",)),
    "tuning": Move("head", ("tuning=full",), {"metrics.trained_parameters": OTHER, "files": OTHER}),
    "scoring": Move("soft", ("tuning=head",), {"metrics.trained_parameters": OTHER, "predictions": OTHER}),
    "ensemble": Move("patterns", ("ensemble=none",), {"metrics.members": OTHER, "predictions": OTHER}),
    "pattern": Move("p1"),
    "verbalizer": Move("v1"),
    "template": Move("{text} So it is {mask}."),
    "found": Move(str(HERE / "found"), ("pattern=f0",), {"code": (2, 0)}, ()),
    "seed": Move(
        "14",
        shows={"sample": OTHER, "metrics.seed": ({"data": 13, "trainer": 13}, {"data": 14, "trainer": 14})},
        keeps=("code",),
    ),
    "device": Move("cuda:99", ("device=cpu",), {"code": (0, 2)}, ()),
    "precision": Move("bf16", ("precision=fp32", "tuning=zero_shot")),
    "baseline": Move(
        "false", ("baseline=true",), {"account": OTHER}, ("code", "sample", "predictions", "metrics", "tensors")
    ),
    "save_model": Move("never", shows={"files": OTHER}, keeps=("code", "predictions")),
    "resume": Move("true", shows={"code": (2, 0)}, keeps=("predictions",), again=True),
    # Of a sweep: what they do among its runs is held in tests/test_choice.py.
    "select": Move("[cv]", shows={"code": (0, 2)}, keeps=()),
    "choice.folds": Move("1", shows={"code": (0, 2)}, keeps=()),
    "choice.splits": Move("0", shows={"code": (0, 2)}, keeps=()),
    "choice.texts": Move("0", shows={"code": (0, 2)}, keeps=()),
    "choice.within": Move("[1]", shows={"code": (0, 2)}, keeps=()),
    "data.path": Move(str(DATA / "columns"), ("data.shots=2",), {"metrics.n_test": (8, 4)}, ("code",)),
    "data.shots": Move("2", shows={"metrics.n_train": (8, 4), "predictions": OTHER}, keeps=("code",)),
    "data.fewer": Move("take", ("data.shots=100",), {"code": (2, 0)}, ()),
    "data.dev_shots": Move(
        "2",
        shows={"metrics.n_dev": (0, 4), "metrics.dev_score": OTHER, "sample.dev": OTHER},
        keeps=("code", "sample.train"),
    ),
    "data.dev": Move("validation", _COMMAS, {"metrics.n_dev": (0, 3), "sample.dev": OTHER}, ("code", "sample.train")),
    "data.unlabeled": Move("train", _PET, {"metrics.n_unlabeled": (16, 6), "soft_labels": OTHER}, ("code",)),
    "data.separator": Move("semicolon", _COMMAS, {"code": (0, 2)}, ()),
    "data.fields": Move("{text: note}", _COLUMNS),
    "data.label": Move("mark", _COLUMNS, keeps=("code",)),
    "data.labels": Move("{tasty: bland, bland: tasty}", shows={"predictions": OTHER}, keeps=("code",)),
    "data.max_test": Move("5", shows={"metrics.n_test": (8, 5), "metrics.max_test": (None, 5)}),
    "data.max_unlabeled": Move("9", _PET, {"metrics.n_unlabeled": (16, 9)}),
    "data.test_fraction": Move(
        "0.25", (f"data.path={DATA / 'columns' / 'train.jsonl'}", "data.shots=1"), {"metrics.n_test": (4, 2)}, ("code",)
    ),
    "data.seed": Move(
        "14",
        shows={"sample": OTHER, "metrics.seed": ({"data": 13, "trainer": 13}, {"data": 14, "trainer": 13})},
        keeps=("code",),
    ),
    "demonstrations.per_label": Move("1", shows={"predictions": OTHER, "files": OTHER}),
    "demonstrations.choose": Move("nearest", _SHOWN),
    "demonstrations.draws": Move("3", _SHOWN),
    "trainer.max_steps": Move("2", shows={"metrics.steps": (3, 2), "predictions": OTHER}),
    "trainer.learning_rate": Move("0.02", shows={"metrics.learning_rate": (1e-3, 0.02), "predictions": OTHER}),
    "trainer.batch_size": Move("3", shows={"rows": ([8, 8, 8, 8], [3, 3, 2, 8]), "predictions": OTHER}),
    "trainer.eval_batch_size": Move("5", shows={"rows": ([8, 8, 8, 8], [8, 8, 8, 5, 3])}, keeps=("code", "sample")),
    "trainer.max_length": Move("20", shows={"metrics.shortened": OTHER, "longest": OTHER, "predictions": OTHER}),
    "trainer.weight_decay": Move("20", shows={"predictions": OTHER, "tensors": OTHER}),
    "trainer.warmup": Move("0.5"),
    "trainer.grad_clip": Move("1000"),
    "trainer.class_weights": Move("balanced", (*_COLUMNS[:1], "data.shots=6", "data.fewer=take")),
    "trainer.eval_every": Move("1", ("data.dev_shots=2",), {"rows": ([8, 8, 8, 4, 8], [8, 4, 8, 4, 8, 4, 8])}),
    "trainer.mlm_alpha": Move("0.5"),
    "trainer.mlm_batch_size": Move("1", ("trainer.mlm_alpha=0.5",)),
    "trainer.mlm_window": Move("5", ("trainer.mlm_alpha=0.5",)),
    "trainer.seed": Move(
        "14", shows={"predictions": OTHER, "metrics.seed": ({"data": 13, "trainer": 13}, {"data": 13, "trainer": 14})}
    ),
}

_STEPS = ("trainer.max_steps=null", "verbalizer=v2", "scoring.combine=learned")
_TUNING: dict[str, dict[str, Move]] = {
    "zero_shot": {
        "epochs": Move("4", (*_STEPS, "tuning.min_steps=2"), {"metrics.steps": (3, 4)}),
        "min_steps": Move("5", _STEPS, {"metrics.steps": (200, 5)}),
    },
    "full": _length(most=True, dropout="false"),
    "head": {
        **_length(dropout=""),
        "anchor": Move("1000"),
        "decoder": Move("true", shows={"predictions": OTHER, "metrics.trained_parameters": OTHER}),
    },
    "classifier": {**_length(dropout="false"), "head_learning_rate": Move("0.1"), "pooling": Move("mean")},
    "bitfit": _length(),
    "lora": {
        **_length(),
        "rank": Move("2", shows={"metrics.trained_parameters": OTHER, "predictions": OTHER}),
        "alpha": Move("160"),
        "targets": Move("linear", shows={"metrics.trained_parameters": OTHER, "predictions": OTHER}),
    },
    "soft_prompt": {
        **_length(),
        "length": Move("4", shows={"metrics.trained_parameters": (640, 128), "predictions": OTHER}),
        "init": Move("labels"),
        "text": Move("bad cold soup", ("tuning.init=text", "tuning.text=good bread")),
        "conditioned": Move("true", shows={"metrics.trained_parameters": OTHER, "predictions": OTHER}),
        "bottleneck": Move(
            "5", ("tuning.conditioned=true",), {"metrics.trained_parameters": OTHER, "predictions": OTHER}
        ),
        "network_learning_rate": Move("0.3", ("tuning.conditioned=true",)),
        "anchor": Move("0"),
        "anchor_until": Move("8"),
    },
    "soft_prompt_5": {"length": Move("4", shows={"metrics.trained_parameters": 128}, keeps=())},
    "soft_prompt_100": {"length": Move("4", shows={"metrics.trained_parameters": 128}, keeps=())},
    "p_tuning": {
        **_length(),
        "length": Move("4", shows={"metrics.trained_parameters": OTHER, "predictions": OTHER}),
        "init": Move("labels"),
        "text": Move("bad cold soup", ("tuning.init=text", "tuning.text=good bread")),
        "encoder": Move("mlp", shows={"metrics.trained_parameters": OTHER, "predictions": OTHER}),
        "hidden": Move(
            "8",
            ("tuning.network_learning_rate=0.1",),
            shows={"metrics.trained_parameters": OTHER, "predictions": OTHER},
        ),
        "anchor": Move("0"),
        "anchor_until": Move("8"),
        "network_learning_rate": Move("0.1"),
    },
    "prefix": {
        **_length(),
        "length": Move("4", shows={"metrics.trained_parameters": OTHER, "predictions": OTHER}),
        "init": Move("labels"),
        "text": Move("bad cold soup", ("tuning.init=text", "tuning.text=good bread")),
        "projection": Move("true", shows={"metrics.trained_parameters": OTHER, "predictions": OTHER}),
        "bottleneck": Move(
            "5", ("tuning.projection=true",), {"metrics.trained_parameters": OTHER, "predictions": OTHER}
        ),
        "anchor": Move("0"),
        "anchor_until": Move("8"),
    },
    "word_embedding": {
        **_length(),
        "freeze_model": Move(
            "false", shows={"metrics.trained_parameters": OTHER, "files": OTHER, "predictions": OTHER}
        ),
        "model_learning_rate": Move("1e-4", ("tuning.freeze_model=false",)),
        "init": Move("labels", _SOFT),
        "text": Move("bad cold soup", (*_SOFT, "tuning.init=text", "tuning.text=good bread")),
        "anchor": Move("0"),
        "anchor_until": Move("8"),
    },
}

_FROZEN = ("tuning=zero_shot",)
_SCORING: dict[str, dict[str, Move]] = {
    "words": {
        "combine": Move("max", _WORDS),
        "learned_rate": Move("0.5", _LEARNED, {"predictions": OTHER, "tensors": OTHER}),
        "learned_penalty": Move("10", _LEARNED, {"predictions": OTHER, "tensors": OTHER}),
        "length_normalise": Move(
            "false", ("tuning=zero_shot", "verbalizer={tasty: superb, bland: dull}"), model="gpt2"
        ),
    },
    "soft": {
        "init": Move("random", _FROZEN),
        "learning_rate": Move("0.5", _FROZEN, {"predictions": OTHER, "tensors": OTHER}),
        "anchor": Move("1000", _FROZEN, {"predictions": OTHER, "tensors": OTHER}),
    },
}

_MEMBER_KEYS: dict[str, Move] = {
    "patterns": Move("[p1,p2]", _TWO, {"members": (["p0-v0", "p1-v0"], ["p1-v0", "p2-v0"])}),
    "seeds": Move(
        "2", _TWO, {"members": (["p0-v0", "p1-v0"], ["p0-v0", "p1-v0", "p0-v0-s1", "p1-v0-s1"]), "predictions": OTHER}
    ),
    "average": Move(
        "weights", ("ensemble.patterns=[p0,p1]", "ensemble.seeds=2"), {"members": OTHER, "predictions": OTHER}
    ),
    "combine": Move("logits", _TWO),
    "weights": Move("[1,3]", _TWO),
}
_DISTILLED: dict[str, Move] = {
    "models": Move("shared", shows={"code": (0, 2)}, keeps=()),
    "combine": Move("vote", shows={"soft_labels": OTHER, "predictions": OTHER}),
    "weights": Move("[1,3]", shows={"soft_labels": OTHER, "predictions": OTHER}),
    "seeds": Move("2", shows={"members": OTHER, "soft_labels": OTHER}),
    "average": Move("weights", ("ensemble.seeds=2",), {"members": OTHER, "soft_labels": OTHER}),
    "patterns": Move("[p1,p2]", shows={"members": (["p0-v0", "p1-v0"], ["p1-v0", "p2-v0"]), "soft_labels": OTHER}),
    "verbalizers": Move("[v1]", shows={"members": (["p0-v0", "p1-v0"], ["p0-v1", "p1-v1"]), "soft_labels": OTHER}),
    "pvps": Move(
        "[[p0,v1],[p2,v0]]", shows={"members": (["p0-v0", "p1-v0"], ["p0-v1", "p2-v0"]), "soft_labels": OTHER}
    ),
    "alpha": Move("0.5", shows={"member predictions": OTHER, "soft_labels": OTHER}),
    "unlabeled_batch_size": Move("3", ("ensemble.alpha=0.5",), {"member predictions": OTHER, "soft_labels": OTHER}),
    "temperature": Move("7", shows={"soft_labels": OTHER, "predictions": OTHER}, keeps=("code", "member predictions")),
    "student": Move("[p0,v0]", shows={"predictions": OTHER}, keeps=("code", "soft_labels")),
    "student_tuning": Move(
        "head", ("ensemble.student=[p0,v0]",), {"metrics.trained_parameters": OTHER}, ("code", "soft_labels")
    ),
    "student_steps": Move("2", shows={"metrics.steps": (3, 2), "predictions": OTHER}, keeps=("code", "soft_labels")),
    "student_batch_size": Move("3", shows={"predictions": OTHER}, keeps=("code", "soft_labels")),
    "student_learning_rate": Move(
        "0.02", shows={"metrics.learning_rate": OTHER, "predictions": OTHER}, keeps=("code", "soft_labels")
    ),
}
_ENSEMBLE: dict[str, dict[str, Move]] = {
    "none": {},
    "patterns": {**_MEMBER_KEYS, "models": Move("shared", _TWO)},
    "patterns_shared": {
        **{key: move for key, move in _MEMBER_KEYS.items() if key in ("patterns", "combine", "weights")},
        "models": Move("separate", _TWO, {"predictions": OTHER, "files": OTHER}),
        "seeds": Move("2", _TWO, {"members": OTHER}),
        "average": Move("weights", _TWO, {"code": (0, 2)}, ()),
    },
    "pvps": {
        **_MEMBER_KEYS,
        "patterns": Move(
            "[p1]", ("ensemble.patterns=[p0]",), {"members": (["p0-v0", "p0-v1", "p0-v2"], ["p1-v0", "p1-v1", "p1-v2"])}
        ),
        "verbalizers": Move("[v1]", ("ensemble.patterns=[p0]",), {"members": (["p0-v0", "p0-v1", "p0-v2"], ["p0-v1"])}),
        "pvps": Move("[[p2,v1]]", _TWO_PVPS, {"members": (["p0-v0", "p1-v1"], ["p2-v1"])}),
        "models": Move("shared", _TWO_PVPS),
        "seeds": Move("2", _TWO_PVPS, {"members": OTHER, "predictions": OTHER}),
        "average": Move("weights", (*_TWO_PVPS, "ensemble.seeds=2"), {"members": OTHER, "predictions": OTHER}),
        "combine": Move("logits", _TWO_PVPS),
        "weights": Move("[1,3]", _TWO_PVPS),
    },
    "words": {"verbalizers": Move("[v1]", ("ensemble.patterns=[p0]",), {"members": (["p0-all"], ["p0-v1"])})},
    "pet": {key: Move(move.to, (*_PET[1:], *move.within), move.shows, move.keeps) for key, move in _DISTILLED.items()},
    "ipet": {
        "generations": Move("2", _IPET, {"generations": (2, 3), "soft_labels": OTHER}),
        "subset": Move("1.0", _IPET, {"member predictions": OTHER, "soft_labels": OTHER}),
        "growth": Move("4", _IPET, {"soft_labels": OTHER}),
        "first": Move("4", (*_IPET, "data.shots=0"), {"soft_labels": OTHER}),
    },
}
_TASTES = f"method.words={DATA.parent / 'tastes.tsv'}"
_NETWORK = {
    "vectors": Move("model"),
    "limit": Move("2", (f"method.vectors={DATA.parent / 'words.vec'}",)),
    "width": Move("20"),
    "static": Move("true"),
    "dropout": Move("0.1"),
    "learning_rate": Move("0.0123", shows={"metrics.learning_rate": OTHER, "predictions": OTHER}),
    "epochs": Move("2", ("trainer.max_steps=null", "method.min_steps=1"), {"metrics.steps": 2}, ()),
    "min_steps": Move("1", ("trainer.max_steps=null", "method.epochs=2"), {"metrics.steps": 2}, ()),
}
_METHOD: dict[str, dict[str, Move]] = {
    "prompt": {},
    "tfidf": {
        "words": Move("[1,1]", shows={"metrics.features": OTHER, "predictions": OTHER}),
        "characters": Move("null", shows={"metrics.features": OTHER, "predictions": OTHER}),
        "strengths": Move("[0.01,0.1]", shows={"metrics.strength": OTHER, "predictions": OTHER}),
        "strength": Move("0.1", ("data.shots=1",), {"metrics.strength": (10.0, 0.1), "predictions": OTHER}),
        "folds": Move("2", shows={"metrics.folds": (4, 2), "predictions": OTHER}),
    },
    "sentence_lr": {
        "pooling": Move("cls"),
        "normalise": Move("false"),
        "strengths": Move("[0.01,0.1]", shows={"metrics.strength": OTHER, "predictions": OTHER}),
        "strength": Move("0.1", ("data.shots=1",), {"metrics.strength": (10.0, 0.1), "predictions": OTHER}),
        "folds": Move("2", shows={"metrics.folds": (4, 2)}),
    },
    "setfit": {
        "pooling": Move("cls"),
        "normalise": Move("false"),
        "pairs": Move("3", shows={"metrics.last_loss": OTHER}),
        "most_steps": Move("2", ("trainer.max_steps=null",), {"metrics.steps": (40, 2)}),
        "learning_rate": Move("0.0123", shows={"metrics.learning_rate": OTHER, "predictions": OTHER}),
        "dropout": Move("false"),
        "strength": Move("0.1", shows={"metrics.strength": (1.0, 0.1), "predictions": OTHER}),
    },
    "lexicon": {
        "words": Move(str(DATA.parent / "tastes.jsonl"), (_TASTES,)),
        "anchor": Move("0.01", (_TASTES,)),
    },
    "cnn": {**_NETWORK, "windows": Move("[1]"), "filters": Move("7")},
    "bilstm": {**_NETWORK, "hidden": Move("7"), "pooling": Move("mean")},
}
_METHOD["nsp"] = {
    "second": Move("field", shows={"code": (0, 2)}, keeps=()),  # labels that are no relations
    "relations": Move("{tasty: entailment, bland: contradiction}", shows={"code": (0, 2)}, keeps=()),  # of one text
    "prior": Move("{tasty: 0.1}", shows={"predictions": OTHER, "metrics.cut": OTHER}, keeps=("code",)),
}
_MODEL: dict[str, dict[str, Move]] = {
    "random": {"learning_rate": Move("0.02", shows={"metrics.learning_rate": (1e-3, 0.02), "predictions": OTHER})},
}
TABLES = {"method": _METHOD, "model": _MODEL, "tuning": _TUNING, "scoring": _SCORING, "ensemble": _ENSEMBLE}
OF_THE_HUB = {"revision", "trust_remote_code"}
"""Keys of a model that a folder on the disk has no use for."""
SAME_KEYS = {"pet_small": "pet", "ipet_small": "ipet", "ipet": "pet"}
"""Files whose further keys are another's: the same code reads them."""


def _rows() -> Iterator[tuple[str, str, Move]]:
    for key, move in _RUN.items():
        yield key, key, move
    for group, table in TABLES.items():
        for name, moves in table.items():
            for key, move in moves.items():
                within = (f"{group}={name}", *move.within)
                yield f"{name}.{key}", f"{group}.{key}", Move(move.to, within, move.shows, move.keeps, move.model)


ROWS = {title: (key, move) for title, key, move in _rows()}


@pytest.fixture(scope="module")
def seen(world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Seen]:
    """What a run shows, by its overrides; a run that several keys start from is made once."""
    known: dict[tuple[Any, ...], Seen] = {}

    def see(*overrides: str, model: str = "bert", again: bool = False) -> Seen:
        asked = (
            *sorted(set(overrides) - {"method=prompt", "tuning=full", "scoring=words", "ensemble=none"}),
            model,
            again,
        )
        if asked not in known:
            folder = tmp_path_factory.mktemp("key") / "run"
            task = "pairs" if "task=pairs" in overrides else "meals"
            if again:
                world.train(folder, task=task, model=model)
            with _watched() as shapes:
                code, said = world.attempt(folder, *overrides, task=task, model=model)
            known[asked] = {"code": code, "said": said, **(_contents(folder, shapes) if folder.is_dir() else {})}
        return known[asked]

    return see


def _contents(folder: Path, shapes: list[tuple[int, int]]) -> Seen:
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    contents = found(folder)
    members = [row["name"] for row in contents["metrics"].get("members", [])]
    return {
        **contents,
        "files": files,
        "tensors": [
            hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files if "safetensors" in file
        ],
        "rows": [rows for rows, _ in shapes],
        "longest": max((length for _, length in shapes), default=0),
        "account": read(folder / "account.json"),
        "members": members,
        "member predictions": [row.get("members") for row in contents["predictions"]],
        "generations": len(contents["metrics"].get("generations", [])),
    }


@contextlib.contextmanager
def _watched() -> Iterator[list[tuple[int, int]]]:
    """The shapes `(rows, tokens)` of the batches that a model's word embeddings looked up, within the block."""
    shapes: list[tuple[int, int]] = []

    def look(module: nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(module, nn.Embedding) and module.num_embeddings > len(vocabulary()) and given[0].dim() == 2:
            shapes.append((given[0].shape[0], given[0].shape[1]))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield shapes
    finally:
        hook.remove()


def _place(seen: Seen, place: str) -> Any:
    node: Any = seen
    for part in place.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


@pytest.mark.parametrize("title", ROWS)
def test_a_moved_key_shows(title: str, seen: Callable[..., Seen]) -> None:
    key, move = ROWS[title]
    kept = [one for one in move.within if one.partition("=")[0] != key]
    after = seen(*kept, f"{key}={move.to}", model=move.model, again=move.again)
    compared = bool(move.keeps) or any(wanted is OTHER or isinstance(wanted, tuple) for wanted in move.shows.values())
    before = seen(*move.within, model=move.model, again=move.again) if compared else {}
    for place, wanted in move.shows.items():
        there, here = _place(before, place), _place(after, place)
        if wanted is OTHER:
            assert differences(there, here, NEAR) or differences(here, there, NEAR), f"{place} is as before: {here}"
        else:
            assert ((there, here) if isinstance(wanted, tuple) else here) == wanted, (place, after["said"])
    for place in move.keeps:
        assert _place(before, place) == _place(after, place), (place, after["said"])


def _keys(values: Any, prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _own(path: Path) -> set[str]:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return set(_keys({key: value for key, value in values.items() if key not in ("defaults", "hydra", "name")}))


def test_every_key_is_moved_once() -> None:
    groups = {path.name for path in CONF.iterdir() if path.is_dir()} - {*files.PRESETS, "search"}
    assert set(_RUN) == _own(CONF / "train.yaml") | groups
    assert set(TABLES) == groups - {"task"}  # a task's keys are facts about its source; tests/test_conf.py has them
    for group, table in TABLES.items():
        for path in (CONF / group).glob("*.yaml"):
            name = path.stem if group != "model" else "random"
            rows = set(table.get(name, {}))
            while name in SAME_KEYS:
                name = SAME_KEYS[name]
                rows |= set(table[name])
            assert _own(path) - OF_THE_HUB <= rows, path


def test_a_run_lies_by_day_time_task_and_mode_with_nothing_of_hydras(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = world.attempt(None, "tuning=zero_shot")
    assert code == 0, said
    (run,) = tmp_path.glob("outputs/2*/*")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-\d+_meals_zero_shot", str(run.relative_to(tmp_path / "outputs"))
    )
    assert (tmp_path / "outputs" / "latest").resolve() == run
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}
    assert not [path for path in run.rglob("*") if path.name == ".hydra" or path.suffix == ".log"]
