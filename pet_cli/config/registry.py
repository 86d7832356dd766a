"""Every kind of tuning, ensemble and so on: one line for each, naming its settings and what does it.

The names are of modules and of what stands in them, and are imported when they are asked for, so that a mistake in a
configuration is answered without loading torch. A new kind is its file, its YAML of the same name, and its line here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from pet_cli.errors import not_allowed


@dataclass(frozen=True)
class Kind:
    """One kind of a group.

    Attributes:
        settings: `module:class` of its settings, a dataclass in a module that loads no torch.
        by: `module:name` of what does it.
    """

    settings: str
    by: str


def _tuning(settings: str, by: str) -> Kind:
    return Kind(f"pet_cli.config.tuning:{settings}", f"pet_cli.tuning.{by}")


def _ensemble(settings: str, by: str) -> Kind:
    return Kind(f"pet_cli.config.ensemble:{settings}", f"pet_cli.{by}")


def _method(settings: str, by: str) -> Kind:
    return Kind(f"pet_cli.config.method:{settings}", f"pet_cli.methods.{by}")


def _scoring(settings: str, by: str) -> Kind:
    return Kind(f"pet_cli.config.scoring:{settings}", f"pet_cli.verbalizers.{by}")


def _search(settings: str, by: str) -> Kind:
    return Kind(f"pet_cli.config.search:{settings}", f"pet_cli.search.{by}")


KINDS: dict[str, dict[str, Kind]] = {
    "method": {
        "prompt": _method("PromptSettings", "prompted:PromptMethod"),
        "tfidf": _method("TfidfSettings", "tfidf:TfidfMethod"),
        "lexicon": _method("LexiconSettings", "lexicon:LexiconMethod"),
        "nsp": _method("NspSettings", "nsp:NspMethod"),
        "sentence_lr": _method("SentenceLrSettings", "sentence_lr:SentenceLrMethod"),
        "setfit": _method("SetfitSettings", "setfit:SetfitMethod"),
        "cnn": _method("CnnSettings", "cnn:CnnMethod"),
        "bilstm": _method("BilstmSettings", "bilstm:BilstmMethod"),
    },
    "tuning": {
        "zero_shot": _tuning("ZeroShotTuning", "zero_shot:ZeroShotLearner"),
        "head": _tuning("HeadTuning", "head:HeadLearner"),
        "full": _tuning("FullTuning", "full:FullLearner"),
        "classifier": _tuning("ClassifierTuning", "classifier:ClassifierLearner"),
        "soft_prompt": _tuning("SoftPromptTuning", "soft_prompt:SoftPromptLearner"),
        "word_embedding": _tuning("WordEmbeddingTuning", "word_embedding:WordEmbeddingLearner"),
        "p_tuning": _tuning("PTuningTuning", "p_tuning:PTuningLearner"),
        "prefix": _tuning("PrefixTuning", "prefix:PrefixLearner"),
        "lora": _tuning("LoraTuning", "lora:LoraLearner"),
        "bitfit": _tuning("BitfitTuning", "bitfit:BitfitLearner"),
    },
    "scoring": {
        "words": _scoring("WordsScoring", "manual:ManualVerbalizer"),
        "soft": _scoring("SoftScoring", "soft:SoftVerbalizer"),
    },
    "ensemble": {
        "none": _ensemble("NoEnsemble", "methods.prompted:PromptMethod"),
        "patterns": _ensemble("PatternsEnsemble", "ensembles.method:EnsembleMethod"),
        "pvps": _ensemble("PvpsEnsemble", "ensembles.method:EnsembleMethod"),
        "pet": _ensemble("PetEnsemble", "ensembles.method:PetMethod"),
        "ipet": _ensemble("IpetEnsemble", "ensembles.method:PetMethod"),
    },
}
"""A run's groups: group -> the name that stands in its YAML as `name:` -> its kind."""

SEARCHES: dict[str, Kind] = {
    "rules": _search("RulesSearch", "rules:Rules"),
    "mining": _search("MiningSearch", "mining:Mining"),
    "edits": _search("EditsSearch", "edits:Edits"),
    "lmbff": _search("LmbffSearch", "lmbff:lmbff"),
    "lm": _search("LmSearch", "lm:Lm"),
    "gradient": _search("GradientSearch", "gradient:Gradient"),
    "paraphrase": _search("ParaphraseSearch", "paraphrase:Paraphrase"),
    "petal": _search("PetalSearch", "petal:Petal"),
    "amulap": _search("AmulapSearch", "amulap:Amulap"),
    "npprompt": _search("NppromptSearch", "npprompt:Npprompt"),
    "kpt": _search("KptSearch", "kpt:Kpt"),
}
"""The group `search`, which only `pet search` has."""

ALL = {**KINDS, "search": SEARCHES}


def kind(group: str, name: Any) -> Kind:
    """Raises `UserError` for a name that the group does not have."""
    found = ALL[group].get(name) if isinstance(name, str) else None
    if found is None:
        raise not_allowed(f"{group}.name", name, ALL[group])
    return found


def settings_class(group: str, name: Any) -> type[Any]:
    """The dataclass of a kind's settings."""
    found: type[Any] = _load(kind(group, name).settings)
    return found


def implementation(group: str, name: Any) -> Any:
    """What does it: a learner, a verbalizer, a method."""
    return _load(kind(group, name).by)


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
