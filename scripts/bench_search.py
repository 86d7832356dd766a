"""What a search for prompts costs beside its parts, each timed alone: the section `search` of `bench.py`.

Seconds are of the processor, the lower of two measurements, so that they hold beside other work. The parts are what
nothing can leave out: the model and the texts are loaded, each prompt that the model read is tokenised and goes through
its plain forward once, the vocabulary is scored where a search asks for it, and the finalists' heads are trained on
states that are there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

SEARCHES = {"rules": "template", "edits": "template", "petal": "verbalizer"}
_CANDIDATES, _FINALISTS = 16, 2


def searches(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Each search, whole, against its parts."""
    from pet_cli.commands.compose import compose
    from pet_cli.config.build import option

    own = [f"data.path={options.data}"] if options.data else []
    config = compose([f"task={options.task}", "tuning=head", f"model.name={options.model}", *own])
    task = config.task  # one template and one set of words that people wrote are marks enough
    config = replace(config, task=replace(task, patterns=task.patterns[:1], verbalizers=task.verbalizers[:1]))
    zero_shot = replace(config, tuning=option("tuning", "zero_shot"))
    _searched("rules", zero_shot, candidates=1)  # what is done once in a process is not counted
    return [row for name in SEARCHES for row in rows(name, config)]


def rows(name: str, config: Any) -> list[tuple[str, str, str]]:
    """A search, whole, beside its parts: the lower seconds of two measurements."""
    (told, one), (_, other) = _measured(name, config), _measured(name, config)
    took = {what: min(own, other[what]) for what, own in one.items()}
    whole = took.pop("whole")
    together = sum(took.values())
    each = ", ".join(f"{what} {own:.1f} s" for what, own in took.items())
    return [
        (f"search={name}: {told['candidates']} candidates, {told['heads']} heads", f"{whole:.1f} s", told["of"]),
        ("its parts alone", f"{together:.1f} s", f"{each}; the search takes {whole / together:.2f} of them"),
        ("prompts that the model read", told["read"], f"{told['different']} of them different"),
    ]


def _searched(name: str, config: Any, candidates: int = _CANDIDATES) -> tuple[Any, float]:
    """The bench of a search, and what the search took."""
    from pet_cli.config.build import option
    from pet_cli.search.run import search

    settings = option("search", name, minutes=None, candidates=candidates, finalists=_FINALISTS)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        bench = search(SEARCHES[name], config, settings, Path(folder) / "found")
        return bench, time.process_time() - start


def _measured(name: str, config: Any) -> tuple[dict[str, str], dict[str, float]]:
    """What a search did, and the seconds of the whole and of its parts, by name."""
    from pet_cli.models.base import LanguageModel
    from pet_cli.runs.session import Session
    from pet_cli.search import scores

    read: list[Any] = []
    asked: list[Any] = []
    collate, word_scores = LanguageModel.collate, LanguageModel.word_scores

    def reading(lm: LanguageModel, prompts: list[Any]) -> Any:
        read.extend(prompts)
        return collate(lm, prompts)

    def asking(lm: LanguageModel, states: Any, words: Any) -> Any:
        if words is None:
            asked.append(states)
        return word_scores(lm, states, words)

    with patch.object(LanguageModel, "collate", reading), patch.object(LanguageModel, "word_scores", asking):
        bench, whole = _searched(name, config)

    session = Session(reuse=True)
    loading = _seconds(lambda: (session.to_search(config), session.language_model(config)))
    lm, split = session.language_model(config), session.to_search(config)["train"]
    used = [one for one in bench.known.values() if one.texts]
    learners = [bench.learner(one.candidate) for one in used]
    tokenising = _seconds(lambda: [learner.encoder.encode(split.rows) for learner in learners])
    different = list({(*prompt.ids, *prompt.types): prompt for prompt in read}.values())
    forward = _seconds(lambda: _forward(lm, different))
    words = _seconds(lambda: _words(lm, asked))
    best = [one for one in used if "head" in one.scores]
    parts = scores.folds(config, split, bench.settings.folds)
    heads = sum(_heads(one.candidate.within(bench.ways["head"]), session, split, parts) for one in best)
    told = {
        "candidates": str(len(used)),
        "heads": str(len(best)),
        "of": f"of {len(split)} examples",
        "read": str(len(read)),
        "different": str(len(different)),
    }
    took = {
        "whole": whole,
        "model and data": loading,
        "tokenising": tokenising,
        "forward": forward,
        "vocabulary": words,
        "heads": heads,
    }
    return told, took


def _forward(lm: Any, prompts: list[Any]) -> None:
    """The plain forward of the model's body over prompts, in batches of 32 of like length."""
    import torch

    from pet_cli.prompts.batch import buckets

    with torch.inference_mode():
        for places in buckets([len(prompt.ids) for prompt in prompts], 32):
            lm.encode(lm.collate([prompts[place] for place in places]))


def _words(lm: Any, asked: list[Any]) -> None:
    """The scores of the whole vocabulary at some masks."""
    import torch

    with torch.inference_mode():
        for states in asked:
            lm.word_scores(states, None).log_softmax(dim=-1)


def _heads(config: Any, session: Any, split: Any, parts: list[list[int]]) -> float:
    """What the heads of a candidate take that are trained on all parts but one."""
    from pet_cli.data.parts import others
    from pet_cli.methods.prompted import build_learner, to_learn, train_settings
    from pet_cli.search.scores import part
    from pet_cli.training.loop import train

    targets, total = to_learn(config, split), 0.0
    for number in range(len(parts)):
        learner = build_learner(config, session.language_model(config), session)
        encoded = learner.encode(split.rows, split.fingerprint)
        seen = others(parts, number)
        how = train_settings(config, learner.lm, len(seen))
        own, gold = part(encoded, seen), targets[seen]
        total += _seconds(lambda learner=learner, own=own, gold=gold, how=how: train(learner, own, gold, how))  # type: ignore[misc]
    return total


def _seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
