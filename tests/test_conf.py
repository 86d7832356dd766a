"""The folder of configs: every option composes and is sound, and what was published stands there as published.

The tables below are written by hand from the papers and their code. `tests/golden/composed/conf.json` holds every
other value of the options, so that a default changes on purpose only; PET_REWRITE_GOLDEN=1 writes it again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml
from goldens import HERE, differences, read

from pet_cli.commands.compose import compose
from pet_cli.config import files
from pet_cli.errors import Unfit

pytestmark = pytest.mark.xdist_group("conf")

CONF = Path(__file__).parent.parent / "conf"
GROUPS = tuple(
    sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in (*files.PRESETS, "search"))
)
COMPOSED = HERE / "composed" / "conf.json"


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@dataclass(frozen=True)
class Published:
    """What a task's file must say.

    Attributes:
        fields: the papers' letter for a field -> our names of it.
        labels: in the order of the source's numbers.
        templates: in the papers' notation: `[M]` the mask, ` | ` the border between segments, `{a-}` without final
            punctuation, `{b_}` with a lower-case first letter.
        words: for each verbalizer, the words of the labels in their order.
        pairs: PET's pairs of template and verbalizer.
    """

    fields: dict[str, str]
    labels: tuple[str, ...]
    templates: tuple[str, ...]
    words: tuple[tuple[Any, ...], ...]
    pairs: tuple[tuple[str, str], ...] = ()

    def patterns(self) -> list[str]:
        """The templates as our files write them."""
        return [self._ours(template) for template in self.templates]

    def _ours(self, template: str) -> str:
        for letter, names in self.fields.items():
            for sign, modifier in (("", ""), ("-", ":strip"), ("_", ":lower")):
                ours = " ".join("{" + name + modifier + "}" for name in names.split())
                template = template.replace("{" + letter + sign + "}", ours)
        return template.replace("[M]", "{mask}")


_SENTENCE = {"a": "text"}
_SENTIMENT = ("{a} It was [M].", "{a} | It was [M].", "{a} A [M] one.", "{a} All in all [M].", "{a} A [M] piece.")
_YELP = (
    "It was [M]. {a}",
    "{a}. All in all, it was [M].",
    "Just [M]! | {a}",
    "{a} | In summary, the restaurant is [M].",
)
_NEWS = (
    "[M]: {a} {b}",
    "[M] News: {a} {b}",
    "{a} ([M]) {b}",
    "{a} {b} ([M])",
    "[ Category: [M] ] {a} {b}",
    "[M] - {a} {b}",
)
_CHANNEL = ("{a} {b} Topic: [M].", "{a} {b} Subject: [M].", "{a} {b} This is about [M].", "{a} {b} It is about [M].")
_TWO = (("terrible", "great"), ("bad", "good"), (["terrible", "bad", "awful"], ["great", "good", "wonderful"]))
_FIVE = ("terrible", "bad", "okay", "good", "great")

PUBLISHED = {
    "sst2": Published(
        _SENTENCE,
        ("negative", "positive"),
        (*_SENTIMENT, "{a} And that is [M].", "{a} A [M] film.", "{a} This is [M].", "{a} It's [M]."),
        _TWO,
    ),
    "mr": Published(
        _SENTENCE,
        ("negative", "positive"),
        (
            *_SENTIMENT,
            "It's [M]. {a}",
            "{a} A [M] movie.",
            "It was [M]! {a}",
            "{a} A [M] movie to watch.",
            "{a} I thought it was [M].",
        ),
        _TWO,
    ),
    "sst5": Published(
        _SENTENCE,
        ("very_negative", "negative", "neutral", "positive", "very_positive"),
        _SENTIMENT,
        (
            _FIVE,
            (
                ["terrible", "awful", "horrible"],
                ["bad", "poor", "boring"],
                ["okay", "average", "fine"],
                ["good", "nice", "interesting"],
                ["great", "excellent", "wonderful"],
            ),
        ),
    ),
    "trec": Published(
        _SENTENCE,
        ("description", "entity", "abbreviation", "human", "location", "number"),
        ("[M]: {a}", "{a} [M]:", "{a} Q: [M]:", "{a} why [M]?", "{a} Answer: [M]."),
        (
            ("Description", "Entity", "Expression", "Human", "Location", "Number"),
            (
                ["Description", "Definition", "Reason"],
                ["Entity", "Thing", "Object"],
                ["Expression", "Abbreviation", "Acronym"],
                ["Human", "Person", "People"],
                ["Location", "Place", "City"],
                ["Number", "Amount", "Date"],
            ),
        ),
    ),
    "ag_news": Published(
        {"a": "title", "b": "description"},
        ("world", "sports", "business", "technology"),
        (*_NEWS, *_CHANNEL),
        (
            ("World", "Sports", "Business", "Tech"),
            ("World", "Sports", "Business", "Technology"),
            (["World", "Politics"], ["Sports", "Football"], ["Business", "Market"], ["Technology", "Computer"]),
        ),
    ),
    "yahoo": Published(
        {"a": "title body", "b": "answer"},
        (
            "society",
            "science",
            "health",
            "education",
            "computers",
            "sports",
            "business",
            "entertainment",
            "family",
            "politics",
        ),
        (*(template.replace("News", "Question") for template in _NEWS), *_CHANNEL),
        (
            (
                "Society",
                "Science",
                "Health",
                "Education",
                "Computer",
                "Sports",
                "Business",
                "Entertainment",
                "Relationship",
                "Politics",
            ),
            (
                ["Society", "Culture", "Religion"],
                ["Science", "Mathematics", "Physics"],
                ["Health", "Medicine", "Disease"],
                ["Education", "School", "College"],
                ["Computer", "Internet", "Software"],
                ["Sports", "Football", "Game"],
                ["Business", "Finance", "Money"],
                ["Entertainment", "Music", "Movie"],
                ["Relationship", "Family", "Marriage"],
                ["Politics", "Government", "Law"],
            ),
        ),
    ),
    "yelp_polarity": Published(
        _SENTENCE,
        ("negative", "positive"),
        _YELP,
        (("bad", "good"), (["bad", "terrible", "awful"], ["good", "great", "wonderful"])),
    ),
    "yelp_full": Published(
        _SENTENCE,
        ("one", "two", "three", "four", "five"),
        _YELP,
        (
            _FIVE,
            (
                ["terrible", "awful", "horrible"],
                ["bad", "poor", "disappointing"],
                ["okay", "average", "fine"],
                ["good", "nice", "pleasant"],
                ["great", "excellent", "amazing"],
            ),
        ),
    ),
    "mnli": Published(
        {"a": "premise", "b": "hypothesis"},
        ("entailment", "neutral", "contradiction"),
        (
            '"{a-}" ? | [M], "{b}"',
            "{a-}? | [M], {b}",
            "{a-}? [M], {b_}",
            "{a-}. [M], because {b_}",
            "{a-}. [M], you are right, {b_}",
        ),
        (
            ("Right", "Maybe", "Wrong"),
            ("Yes", "Maybe", "No"),
            (["Yes", "Right"], ["Maybe", "Perhaps"], ["No", "Wrong"]),
        ),
        (("p0", "v0"), ("p1", "v0"), ("p0", "v1"), ("p1", "v1")),
    ),
    "rte": Published(
        {"a": "premise", "b": "hypothesis"},
        ("entailment", "not_entailment"),
        (
            "{a-}? [M], {b_}",
            '"{b-}" ? | [M], "{a}"',
            "{b-}? | [M], {a}",
            '"{b-}" ? | [M]. "{a}"',
            "{b-}? | [M]. {a}",
            "{a} question: {b} True or False? answer: [M]",
        ),
        (("Yes", "No"), ("true", "false"), (["Yes", "true"], ["No", "false"])),
        (("p1", "v0"), ("p2", "v0"), ("p3", "v0"), ("p4", "v0"), ("p5", "v1")),
    ),
    "boolq": Published(
        {"a": "passage", "b": "question"},
        ("no", "yes"),
        (
            "{a}. Question: {b}? Answer: [M].",
            "{a}. Based on the previous passage, {b}? [M].",
            "Based on the following passage, {b}? [M]. {a}",
        ),
        (("No", "Yes"), ("false", "true"), (["No", "false"], ["Yes", "true"])),
        (("p0", "v0"), ("p0", "v1"), ("p1", "v0"), ("p1", "v1"), ("p2", "v0"), ("p2", "v1")),
    ),
    "cola": Published(
        _SENTENCE,
        ("unacceptable", "acceptable"),
        (
            "{a} This is [M].",
            "{a} What [M]?",
            "{a} I [M].",
            "{a} You are [M].",
            "{a} That was [M].",
            "Is that [M]? {a}",
        ),
        (("incorrect", "correct"), ("wrong", "right"), (["wrong", "bad", "odd"], ["right", "good", "fine"])),
    ),
    "copa": Published(
        {
            "c1_-": "choice1:strip,lower,keep",
            "c2_-": "choice2:strip,lower,keep",
            "a": "premise",
            "b": "link:keep",
            "M_-": "mask:strip,lower",
        },
        (),
        ('"{c1_-}" or "{c2_-}"? {a-} {b} {M_-}.', "{c1_-} or {c2_-}? {a-} {b} {M_-}."),
        (),
    ),
    "stsb": Published(
        {"a": "first", "b": "second"},
        ("different", "same"),
        ("{a} [M], {b_}", "{a-}. [M], {b_}", "{a} | [M], {b_}", "{a-}? [M], {b_}"),
        (("No", "Yes"), ("wrong", "right")),
    ),
    "mrpc": Published(
        {"a": "first", "b": "second"},
        ("not_equivalent", "equivalent"),
        (
            "{a} [M], {b_}",
            "Do {a} and {b} have the same meaning? [M].",
            "{a}. Based on the previous sentence, {b}? [M].",
            "Based on the following sentence, {a}? [M]. {b}",
        ),
        (("No", "Yes"), ("false", "true")),
    ),
    "cb": Published(
        {"a": "premise", "b": "hypothesis"},
        ("entailment", "contradiction", "neutral"),
        (
            '"{b-}" ? | [M], "{a}"',
            "{b-}? | [M], {a}",
            '"{b-}" ? | [M]. "{a}"',
            "{b-}? | [M]. {a}",
            "{a} question: {b} true, false or neither? answer: [M]",
        ),
        (("Yes", "No", "Maybe"), ("true", "false", "neither")),
        (("p0", "v0"), ("p1", "v0"), ("p2", "v0"), ("p3", "v0"), ("p4", "v1")),
    ),
    "relations": Published(
        {"a": "first", "b": "second"},
        ("entailment", "contradiction", "neutral"),
        ("{a} [M]. {b}", "{a} | [M]. {b}"),
        (("Yes", "No", "Maybe"),),
    ),
    "reviews": Published(
        _SENTENCE,
        ("negative", "positive"),
        (
            "{a} It was [M].",
            "{a} | All in all, it was [M].",
            "[M]! {a}",
            "Just [M]. | {a}",
            "{a} In short: [M].",
            "Review: {a} Verdict: [M].",
        ),
        (
            ("terrible", "great"),
            ("bad", "good"),
            ("awful", "wonderful"),
            ("disappointing", "excellent"),
            (["terrible", "bad", "awful"], ["great", "good", "wonderful"]),
        ),
    ),
    "topics": Published(
        _SENTENCE,
        ("world", "sports", "business", "technology"),
        ("{a} This is about [M].", "[M]: {a}", "[M] news: {a}", "{a} | Category: [M].", "[ Category: [M] ] {a}"),
        (
            ("world", "sports", "business", "technology"),
            ("politics", "sport", "business", "computer"),
            (["world", "politics"], ["sports", "football"], ["business", "market"], ["technology", "computer"]),
        ),
    ),
    "custom": Published(_SENTENCE, (), ("{a} It was [M].",), ()),
}

MODELS = {
    "albert_xxlarge": "albert/albert-xxlarge-v2",
    "bart_base": "facebook/bart-base",
    "bert_base": "google-bert/bert-base-uncased",
    "bert_large": "google-bert/bert-large-uncased",
    "custom": "anything",
    "distilbert": "distilbert/distilbert-base-uncased",
    "embedded": "embedded",
    "flan_t5_base": "google/flan-t5-base",
    "gpt2": "openai-community/gpt2",
    "modernbert_base": "answerdotai/ModernBERT-base",
    "mt5_small": "google/mt5-small",
    "qwen2_5_0_5b": "Qwen/Qwen2.5-0.5B",
    "random": "random",
    "roberta_base": "FacebookAI/roberta-base",
    "roberta_large": "FacebookAI/roberta-large",
    "smollm2": "smollm2",
    "t5_tiny": "~/.cache/pet/t5-tiny",
    "t5_v1_1_base": "google/t5-v1_1-base",
    "xlmr_base": "FacebookAI/xlm-roberta-base",
}

PRESETS: dict[str, dict[str, Any]] = {
    # Gao et al. 2021, appendix: K = 16, a development set of the same size, 1,000 steps, evaluated every 100; rates
    # and batches are chosen from {1e-5, 2e-5, 5e-5} and {2, 4, 8}.
    "lmbff": {
        "model.name": "FacebookAI/roberta-large",
        "tuning.name": "full",
        "ensemble.name": "none",
        "data.shots": 16,
        "data.dev_shots": 16,
        "trainer.max_steps": 1000,
        "trainer.eval_every": 100,
        "trainer.batch_size": 8,
        "trainer.learning_rate": 1e-5,
        "demonstrations.per_label": 1,
        "demonstrations.choose": "nearest",
        "demonstrations.draws": 16,
        "trainer.max_length": 256,
    },
    # Schick & Schütze 2021a, section 4 and appendix: 4 labeled and 12 unlabeled texts a step, three models each.
    "pet_2021a": {
        "model.name": "FacebookAI/roberta-large",
        "tuning.name": "full",
        "ensemble.name": "pet",
        "ensemble.seeds": 3,
        "ensemble.combine": "logits",
        "ensemble.weights": "score",  # accuracy, where a task names no other metric first
        "ensemble.alpha": 1e-4,
        "ensemble.unlabeled_batch_size": 12,
        "ensemble.temperature": 2.0,
        "ensemble.student": "classifier",
        "ensemble.student_steps": 5000,
        "trainer.max_steps": 1000,
        "trainer.batch_size": 4,
        "trainer.learning_rate": 1e-5,
        "trainer.max_length": 256,
        "trainer.weight_decay": 0.01,
        "trainer.grad_clip": 1.0,
        "trainer.warmup": 0.0,
    },
    # Schick & Schütze 2021b, section 4: no MLM loss, batches of 16, 250 steps.
    "pet_superglue_2021b": {
        "model.name": "albert/albert-xxlarge-v2",
        "tuning.name": "full",
        "ensemble.name": "pet",
        "ensemble.seeds": 3,
        "ensemble.combine": "logits",
        "ensemble.weights": "score",  # accuracy, where a task names no other metric first
        "ensemble.alpha": 0.0,
        "ensemble.temperature": 2.0,
        "ensemble.student": "classifier",
        "ensemble.student_steps": 5000,
        "trainer.max_steps": 250,
        "trainer.batch_size": 16,
        "trainer.learning_rate": 1e-5,
        "trainer.max_length": 256,
        "trainer.weight_decay": 0.01,
        "trainer.grad_clip": 1.0,
        "trainer.warmup": 0.0,
    },
}

_OWN = ("model.name=anything", "verbalizer={no: bad, yes: good}")
"""What the options `custom` ask for."""


@functools.cache
def _composed(*overrides: str) -> dict[str, Any]:
    """A checked composition as plain values, to be read alone."""
    return asdict(compose(list(overrides)))


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _needs(group: str, option: str | None) -> list[str]:
    if option == "custom":
        return [own for own in _OWN if own.startswith("model") == (group == "model")]
    return []


@pytest.fixture(scope="module")
def singles() -> dict[str, dict[str, dict[str, Any]]]:
    """Each option of each group composed once, several groups in one composition: group -> option -> its values."""
    out: dict[str, dict[str, dict[str, Any]]] = {group: {} for group in GROUPS}
    packed = ("model", "task", "tuning")
    for chosen in zip_longest(*map(options, packed)):
        given = [f"{group}={option}" for group, option in zip(packed, chosen, strict=True) if option is not None]
        needed = [one for group, option in zip(packed, chosen, strict=True) for one in _needs(group, option)]
        values = _composed(*given, *needed)
        for group, option in zip(packed, chosen, strict=True):
            if option is not None:
                out[group][option] = values[group]
    for group in set(GROUPS) - set(packed):
        for option in options(group):
            out[group][option] = _composed(f"{group}={option}")[group]
    return out


@pytest.mark.xdist_group("singles")
@pytest.mark.parametrize("name", options("task"))
def test_a_task_says_what_was_published(name: str, singles: dict[str, dict[str, dict[str, Any]]]) -> None:
    published, there = PUBLISHED[name], singles["task"][name]
    assert there["name"] == name
    assert tuple(there["labels"]) == published.labels
    assert there["patterns"] == published.patterns()
    words = [tuple(verbalizer[label] for label in published.labels) for verbalizer in there["verbalizers"]]
    assert words == list(published.words)
    assert all(set(verbalizer) == set(published.labels) for verbalizer in there["verbalizers"])
    assert tuple(map(tuple, there["pvps"])) == published.pairs


@pytest.mark.xdist_group("singles")
def test_a_model_is_the_one_of_its_name(singles: dict[str, dict[str, dict[str, Any]]]) -> None:
    assert {option: values["name"] for option, values in singles["model"].items()} == MODELS


@pytest.mark.parametrize("name", PRESETS)
def test_a_published_setting_is_as_published(name: str) -> None:
    there = _flat(_composed(f"+experiment={name}"))
    assert {key: there.get(key) for key in PRESETS[name]} == PRESETS[name]


def _sweep(name: str) -> dict[str, list[str]]:
    """The values that an experiment sweeps over, by key."""
    values = yaml.safe_load((CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8"))
    params = values.get("hydra", {}).get("sweeper", {}).get("params", {})
    texts = {key: str(text) for key, text in params.items()}
    return {key: [text] if text.startswith("[") else text.split(",") for key, text in texts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", options("experiment"))
def test_every_value_of_an_experiment_composes(name: str) -> None:
    sweep = _sweep(name)
    for number in range(max(map(len, sweep.values()), default=1)):
        chosen = [f"{key}={values[number % len(values)]}" for key, values in sweep.items()]
        with contextlib.suppress(*([Unfit] if "+rung" in sweep else [])):
            _composed(f"+experiment={name}", *chosen)


@pytest.mark.xdist_group("singles")
def test_no_other_value_of_the_configs_changes_unseen(singles: dict[str, dict[str, dict[str, Any]]]) -> None:
    default = _flat(_composed())
    in_the_table = ("name", "labels", "patterns", "verbalizers", "pvps")
    here: dict[str, Any] = {
        "run": {key: value for key, value in default.items() if key.partition(".")[0] not in GROUPS},
        "chosen": {group: default[f"{group}.name"] for group in GROUPS},
    }
    for group in GROUPS:
        left_out = in_the_table if group == "task" else ()
        here[group] = {
            option: {key: value for key, value in values.items() if key not in left_out}
            for option, values in sorted(singles[group].items())
        }
    here["rung"] = {}
    for name in options("rung"):
        values = _flat(_composed(f"+rung={name}"))
        here["rung"][name] = {key: value for key, value in values.items() if default.get(key) != value}
    here["experiment"] = {}
    for name in options("experiment"):
        values = _flat(_composed(f"+experiment={name}"))
        changed = {key: value for key, value in values.items() if default.get(key) != value}
        here["experiment"][name] = {**changed, "sweep": _sweep(name)}
    if os.environ.get("PET_REWRITE_GOLDEN"):
        COMPOSED.write_text(json.dumps(here, indent=1) + "\n", encoding="utf-8")
    apart = differences(read(COMPOSED), here, 0.0)
    assert not apart, "\n".join(apart)
