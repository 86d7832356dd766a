"""`pet report`: its statistics by hand-worked values, its files on runs made here, its answer to bad input."""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from pet_cli.config.build import build
from pet_cli.errors import UserError
from pet_cli.report import command, latex, markdown, write_report
from pet_cli.report.answers import mistakes
from pet_cli.report.commands import commands
from pet_cli.report.compare import Verdict, by_setting, differences
from pet_cli.report.curves import curve_section
from pet_cli.report.document import Bullets, Figures, Table
from pet_cli.report.ladder import ladder_section, leads
from pet_cli.report.predictions import read_predictions
from pet_cli.report.runs import read_study
from pet_cli.report.spread import pooled
from pet_cli.report.statistics import Comparison, Decomposition, Source, decompose, estimate, holm, paired_bootstrap
from pet_cli.report.values import natural, short
from pet_cli.runs import states, store
from pet_cli.tasks.evaluation import evaluate
from pet_cli.tasks.metrics import Answers, named

LABELS = ["negative", "positive"]
N_TEST = 40


# --- runs of which the answers are known ---------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of test data; the text of row i is "text number i" with a trap for HTML and Markdown."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"text": f"<b>text</b> number {i} | *x*", "label": LABELS[i % 2]} for i in range(N_TEST)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def make_run(
    folder: Path,
    data: Path,
    wrong: int,
    *,
    pattern: str = "p0",
    verbalizer: str = "v0",
    tuning: str = "head",
    shots: int = 16,
    seed: int = 13,
    labels: list[str] = LABELS,
    status: str = "done",
    overrides: list[str] | None = None,
    members: list[dict[str, Any]] | None = None,
) -> Path:
    """A finished run with `wrong` mistakes among its first test examples, the first of them the most confident."""
    folder.mkdir(parents=True)
    settings = {
        "task.name": "toy",
        "task.fields": {"text": "text"},
        "task.labels": labels,
        "task.patterns": ["{text} It was {mask}.", "{text} So {mask}!"],
        "task.verbalizers": [dict(zip(labels, words, strict=True)) for words in (("bad", "good"), ("awful", "great"))],
        "data.path": str(data),
        "data.shots": shots,
        "pattern": pattern,
        "verbalizer": verbalizer,
        "seed": seed,
    }
    ensemble = "patterns" if members else "none"
    config = build({"task": "custom", "model": "random", "tuning": tuning, "ensemble": ensemble}, settings)
    said = [f"pattern={pattern}", f"verbalizer={verbalizer}", f"tuning={tuning}", f"data.shots={shots}", f"seed={seed}"]
    said += ["ensemble=patterns"] if members else []
    if status != "done":
        store.write_config(folder, config)
        states.write(folder, status, config, overrides or said, "RuntimeError: out of memory")
        return folder
    gold = [i % 2 for i in range(N_TEST)]
    answer = [1 - label if i < wrong else label for i, label in enumerate(gold)]
    sure = [0.99 - 0.005 * i for i in range(N_TEST)]
    table = np.array([[p if label == a else 1 - p for label in (0, 1)] for a, p in zip(answer, sure, strict=True)])
    metrics = evaluate(Answers("label", gold, answer, table, labels), named(None, "label", labels))
    metrics |= {"labels": labels, "n_train": 2 * shots, "n_test": N_TEST, "max_test": None, "shortened": 0}
    metrics |= {"trained_parameters": 1234567, "versions": {"pet": "0.1.0", "torch": "2.99"}}
    metrics |= {"members": members} if members else {}
    predictions = [
        {
            "row": i,
            "gold": labels[gold[i]],
            "predicted": labels[answer[i]],
            "probabilities": dict(zip(labels, table[i].tolist(), strict=True)),
        }
        for i in range(N_TEST)
    ]
    store.write_run(folder, config, metrics, predictions, {})
    timing = {"seconds": {"total": 2.5 if tuning == "head" else 0.5}, "peak_memory_bytes": 300 * 2**20, "device": "cpu"}
    store.write_timing(folder, timing | {"test_examples_per_second": 100.0, "peak_device_memory_bytes": None})
    states.write(folder, "done", config, overrides or said, None)
    return folder


def make_sweep(folder: Path, data: Path) -> Path:
    """Two patterns, two verbalizers, two seeds, head with 4 and 16 shots and zero-shot; head is much the better."""
    modes = (("head", 4), ("head", 16), ("zero_shot", 16))
    design = itertools.product(("p0", "p1"), ("v0", "v1"), modes, (1, 2))
    for number, (pattern, verbalizer, (tuning, shots), seed) in enumerate(design):
        wrong = {"head": 6, "zero_shot": 17}[tuning] + 3 * (pattern == "p1") + (shots == 4) + 2 * (seed == 2)
        make_run(
            folder / f"{number:02}",
            data,
            wrong,
            pattern=pattern,
            verbalizer=verbalizer,
            tuning=tuning,
            shots=shots,
            seed=seed,
        )
    return folder


class Checker(HTMLParser):
    """Notes what is wrong with a page: tags out of order, ids twice, anything loaded from elsewhere."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name in ("href", "src", "xlink:href"):
                self.links.append(str(value))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.faults and not checker.open
    assert len(checker.ids) == len(set(checker.ids))
    assert all(link.startswith("#") and link[1:] in checker.ids for link in checker.links)
    assert not checker.tags & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    return checker


# --- statistics ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "quantile"), [(2, 12.7062), (3, 4.30265), (5, 2.77645), (11, 2.22814), (31, 2.04227)])
def test_the_interval_is_as_wide_as_student_s_t_of_the_tables_says(n: int, quantile: float) -> None:
    own = estimate([0.1 * number for number in range(n)])
    assert own.std and own.low is not None
    assert own.mean - own.low == pytest.approx(quantile * own.std / n**0.5, rel=1e-5)


def test_estimate_of_three_values_by_hand() -> None:
    own = estimate([0.4, 0.5, 0.6])
    assert (own.n, own.mean, own.std) == (3, pytest.approx(0.5), pytest.approx(0.1))
    half = 4.30265 * 0.1 / math.sqrt(3)
    assert own.low == pytest.approx(0.5 - half, abs=1e-5) and own.high == pytest.approx(0.5 + half, abs=1e-5)


def test_estimate_of_one_value_has_no_spread() -> None:
    assert estimate([0.7]).std is None and estimate([0.7]).low is None


def cube(interaction: float = 0.01) -> tuple[list[float], dict[str, list[int]]]:
    """A 2 × 2 × 2 design with effects ± 0.1, ± 0.05 and ± 0.02, and an interaction of the first two."""
    design = list(itertools.product((-1, 1), repeat=3))
    values = [0.5 + 0.1 * a + 0.05 * b + 0.02 * c + interaction * a * b for a, b, c in design]
    names = ("pattern", "verbalizer", "sample")
    return values, {name: [line[i] for line in design] for i, name in enumerate(names)}


def test_decomposition_of_a_known_design() -> None:
    values, factors = cube()
    own = decompose(values, factors | {"training seed": [7] * 8})
    assert own is not None
    # Sums of squares: 8 × 0.01, 8 × 0.0025, 8 × 0.0004 and 8 × 0.0001, of a total of 8 × 0.013.
    assert [source.share for source in own.sources] == pytest.approx([100 / 130, 25 / 130, 4 / 130])
    assert own.rest == pytest.approx(1 / 130)
    assert [source.chance for source in own.sources] == pytest.approx([1 / 7] * 3)
    assert own.rest_chance == pytest.approx(4 / 7)
    assert own.fixed == ("training seed",) and not own.saturated


def test_decomposition_of_an_unbalanced_design_adds_up() -> None:
    values, factors = cube()
    own = decompose(values[1:], {name: levels[1:] for name, levels in factors.items()})
    assert own is not None
    assert sum(source.share for source in own.sources) + own.rest == pytest.approx(1)
    assert all(source.share >= 0 for source in own.sources)
    assert own.sources[0].share > own.sources[1].share > own.sources[2].share


def test_factors_that_move_together_are_one() -> None:
    own = decompose([0.1, 0.2, 0.4, 0.3], {"sample": [1, 2, 1, 2], "training seed": [5, 6, 5, 6], "pattern": [0] * 4})
    assert own is not None
    assert [source.name for source in own.sources] == ["seed (sample and training together)"]


def test_nothing_to_divide() -> None:
    assert decompose([0.5, 0.6], {"pattern": ["p0", "p0"]}) is None
    assert decompose([0.5, 0.5], {"pattern": ["p0", "p1"]}) is None
    assert decompose([0.5], {"pattern": ["p0"]}) is None


def test_decompositions_are_pooled_of_those_with_the_sources_that_most_have() -> None:
    def of(share: float, mean: float, *names: str) -> Decomposition:
        sources = tuple(Source(name, 2, share, share / 2) for name in names)
        return Decomposition(4, mean, 0.1, sources, 1 - share, 1 - share / 2, ("task",))

    one, other, odd = of(0.2, 0.6, "pattern"), of(0.6, 0.8, "pattern"), of(0.9, 0.1, "verbalizer")
    named, whole = pooled([("a", one), ("b", odd), ("c", other)])
    assert named == "On the mean of 2 settings" and whole.n == 8
    assert (whole.mean, whole.rest, whole.sources[0].share) == pytest.approx((0.7, 0.6, 0.4))
    assert pooled([("a", one), ("b", odd)]) == ("a", one)


def test_without_repetition_nothing_is_left_for_noise() -> None:
    own = decompose([0.5, 0.6, 0.8], {"pattern": ["p0", "p1", "p2"]})
    assert own is not None and own.saturated


def test_bootstrap_sees_a_large_difference() -> None:
    rng = np.random.default_rng(5)
    own = paired_bootstrap((rng.random((3, 300)) < 0.15).astype(float))
    assert own.difference == pytest.approx(0.15, abs=0.03)
    assert own.low > 0 and own.p < 0.01
    assert (own.seeds, own.examples) == (3, 300)


def test_bootstrap_sees_no_difference_where_there_is_none() -> None:
    rng = np.random.default_rng(5)
    own = paired_bootstrap(rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=(3, 300)))
    assert own.low < 0 < own.high and own.p > 0.05
    assert paired_bootstrap(np.zeros((2, 50))).p == 1


def test_the_bootstrap_of_many_examples_says_what_the_normal_distribution_does() -> None:
    difference = np.repeat([1.0, -1.0], [220, 180])[None]
    mean, error = 0.1, difference.std() / math.sqrt(400)
    own = paired_bootstrap(difference)
    assert (own.low, own.high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.008)
    assert own.p == pytest.approx(2 * (1 - NormalDist().cdf(mean / error)), abs=0.012)  # 0.044, two-sided


@pytest.mark.parametrize(("p", "clear"), [(0.001, True), (0.04, True), (0.06, False), (0.3, False)])
def test_a_difference_is_clear_where_chance_would_bring_it_in_less_than_one_of_twenty(p: float, clear: bool) -> None:
    verdict = Verdict("A", "B", Comparison(0.1, 0.0, 0.2, p, 1, 400))
    assert verdict.clear == clear
    assert ("is better than" in verdict.sentence()) == clear


def test_bootstrap_does_not_trust_one_lucky_seed() -> None:
    difference = np.zeros((3, 400))
    difference[0, :120] = 1  # 30 points in one seed of three, none in the others
    own = paired_bootstrap(difference)
    assert own.difference == pytest.approx(0.1) and own.p > 0.1


def test_bootstrap_of_incomplete_test_sets_is_seeded() -> None:
    difference = np.full((2, 60), np.nan)
    difference[0, :40] = 1
    difference[1, 20:] = 0
    own = paired_bootstrap(difference)
    assert own.difference == pytest.approx(0.5)
    assert own == paired_bootstrap(difference)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


# --- commands ------------------------------------------------------------------------------------------------------


def test_commands_merge_a_whole_grid() -> None:
    grid = [["task=toy", f"pattern={p}", f"seed={s}"] for p in ("p0", "p1") for s in (1, 2)]
    assert commands(grid) == ["pet train -m task=toy pattern=p0,p1 seed=1,2"]
    assert commands([["task=toy"], ["task=toy", "resume=true"]]) == ["pet train task=toy"]
    assert commands([["a=1", "b=2"], ["b=2", "a=3", "a=1"]]) == ["pet train b=2 a=1"]


def test_commands_repeat_every_run_of_an_incomplete_grid_once() -> None:
    runs = [["pattern=p0", "seed=1"], ["pattern=p0", "seed=2"], ["pattern=p1", "seed=1"], ["tuning=head"]]
    again = []
    for line in commands(runs):
        words = [word.partition("=") for word in shlex.split(line) if "=" in word]
        for values in itertools.product(*(value.split(",") for _, _, value in words)):
            again.append([f"{key}={value}" for (key, _, _), value in zip(words, values, strict=True)])
    assert sorted(again) == sorted(runs)


def test_commands_survive_the_shell() -> None:
    run = ["template='{text} It was {mask}, \"so\".'", "verbalizer={a:b,c:d}"]
    assert shlex.split(commands([run])[0])[2:] == run


# --- the report ----------------------------------------------------------------------------------------------------


def test_report_of_a_sweep(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = make_sweep(tmp_path / "sweep", data)
    make_run(sweep / "zz", data, 0, pattern="p1", seed=3, status="failed")
    assert command([str(sweep)], None) == 0
    page = sweep / "report" / "index.html"
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text(encoding="utf-8")
    check(text)
    markdown = (sweep / "report" / "report.md").read_text(encoding="utf-8")
    for title in (
        "Results",
        "Spread over patterns and verbalizers",
        "Where the spread comes from",
        "Learning curves",
        "Comparisons",
        "Confusion matrices",
        "Most confident mistakes",
        "Probabilities of the label words",
        "Cost",
        "Commands and versions",
    ):
        assert f">{title}</h2>" in text and f"## {title}" in markdown
    # p0 v0 head 16 shots: 6 and 8 wrong of 40.
    mean, std = 1 - 7 / 40, math.sqrt(2) / 40
    assert f"{mean:.3f} ± {std:.3f}" in text and f"{mean:.3f} ± {std:.3f}" in markdown
    assert rf"{mean:.3f} $\pm$ {std:.3f}" in (sweep / "report" / "table.tex").read_text(encoding="utf-8")
    assert "tuning=head is better than tuning=zero_shot by 27.5 points" in text
    assert "pattern=p0 is better than pattern=p1 by 7.5 points" in text
    assert "&lt;b&gt;text&lt;/b&gt; number 0" in text and "<b>text" not in text
    assert "negative (bad)" in text and "1,234,567" in text
    assert "1 run did not finish" in text and "RuntimeError: out of memory" in text
    assert "pet train -m pattern=p0,p1 verbalizer=v0,v1 tuning=head data.shots=4,16 seed=1,2" in text
    # In each setting the patterns differ by three mistakes, the seeds by two: 9 parts to 4 of the variance.
    assert "comes from the pattern: 69\u00a0% of the variance" in text
    pictures = set(re.findall(r"!\[[^\]]*\]\(([^)]+)\)", markdown))
    assert {"spread.png", "heat-map-1.png", "sources.png", "learning-curve-1.png", "cost.png"} <= pictures
    for name in pictures:
        assert (sweep / "report" / name).read_bytes().startswith(b"\x89PNG")
        assert (sweep / "report" / name).with_suffix(".svg").read_text(encoding="utf-8").startswith("<?xml")


def test_report_of_one_run_leaves_out_what_it_has_no_data_for(tmp_path: Path, data: Path) -> None:
    run = make_run(tmp_path / "run", data, 5)
    (run / "timing.json").unlink()
    (data / "test.jsonl").unlink()
    page = write_report([run], tmp_path / "out")
    assert page == tmp_path / "out" / "index.html"
    text = page.read_text(encoding="utf-8")
    check(text)
    for absent in ("Spread over", "Where the spread", "Learning curves", "Comparisons", "Ensembles", ">Cost<"):
        assert absent not in text
    assert text.count("The texts are not shown") == 1
    assert "0.875" in text


def test_several_folders_make_one_report(tmp_path: Path, data: Path) -> None:
    names = ["<script>alert(1)</script> $x$ -->", "好评"]
    folders = [make_run(tmp_path / "a", data, 4), make_run(tmp_path / "b", data, 9, seed=14)]
    member = {"accuracy": 0.7, "macro_f1": 0.6, "weight": 0.5}
    members = [{"name": name} | member for name in ("p0-v0", "p1-v0")]
    folders.append(make_run(tmp_path / "c", data, 8, members=members))
    again = make_run(tmp_path / "again" / "a", data, 4)  # the settings and seeds of the first, on another device
    (again / "config.yaml").write_text(yaml.safe_dump(store.read_config(again) | {"device": "cuda"}))
    other = tmp_path / "other"
    other.mkdir()
    rows = [{"text": f"text {i}", "label": names[i % 2]} for i in range(N_TEST)]
    (other / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folders.append(make_run(tmp_path / "d", other, 3, labels=names, overrides=["task=toy", f"data.path={other}"]))
    text = write_report([*folders, again, folders[0]]).read_text(encoding="utf-8")
    check(text)
    assert "4 runs" in text and "1 run with the settings and seeds of another counted once" in text
    assert "&lt;script&gt;" in text and "好评" in text
    assert "Ensembles and their members" in text and "p1-v0" in text
    assert "ensemble=none" in text and "ensemble=patterns" in text


def test_mistakes_are_shown_though_another_data_set_has_none(tmp_path: Path, data: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "test.jsonl").write_text((data / "test.jsonl").read_text().replace("number", "figure"))
    right = make_run(tmp_path / "a", data, 0)
    wrong = make_run(tmp_path / "b", other, 3, overrides=["task=toy", f"data.path={other}"])
    assert "figure 0" in write_report([right, wrong]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "counted"),
    [("label", "of each label"), ("number", "of each half of the numbers"), ("choice", "in all")],
)
def test_a_learning_curve_says_what_its_shots_count(kind: str, counted: str, tmp_path: Path, data: Path) -> None:
    folders = [make_run(tmp_path / f"{shots}", data, 12 - shots // 2, shots=shots) for shots in (4, 16)]
    study = read_study(folders)
    for one in study.runs:
        assert isinstance(one.metrics, dict)
        one.metrics["target"] = kind
    section = curve_section(study)
    assert section is not None and isinstance(section.blocks[0], Figures)
    assert f"<!-- training examples {counted} (shots) -->" in section.blocks[0].pictures[0].svg
    folders += [make_run(tmp_path / f"c{shots}", data, 9, shots=shots, tuning="classifier") for shots in (4, 16)]
    study = read_study(folders)
    for one in study.runs:
        assert isinstance(one.metrics, dict)
        one.metrics["target"] = kind
    assert f"lead up to 5 examples {counted}, prompts (head) from 5 on" in leads(study)[0]


def _break(path: str, text: str) -> Callable[[Path], None]:
    return lambda folder: [found.write_text(text) for found in folder.glob(path)] and None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_break("*/metrics.json", '{"accuracy": 0.'), "metrics.json cannot be read"),
        (_break("*/metrics.json", "[]"), "metrics.json is damaged: it is not a mapping"),
        (_break("*/metrics.json", '{"accuracy": 0.5, "macro_f1": 0.5}'), "metrics.json is damaged: no labels"),
        (_break("*/metrics.json", '{"labels": ["a"]}'), "metrics.json is damaged: no score"),
        (
            _break("*/metrics.json", '{"metric": "luck", "score": 1, "labels": ["a"]}'),
            "metrics.json is damaged: no score",
        ),
        (_break("*/metrics.json", '{"metric": "accuracy", "score": 2}'), "metrics.json is damaged: no score"),
        (_break("*/state.json", "{}"), "state.json is damaged"),
        (_break("*/state.json", "\0"), "state.json cannot be read"),
        (_break("*/config.yaml", "{"), "config.yaml cannot be read"),
        (_break("*/config.yaml", "seed: 1"), "config.yaml is damaged"),
        (_break("*/timing.json", "3"), "timing.json is damaged"),
        (_break("*/predictions.jsonl", '{"row": 0}\n'), "predictions.jsonl, line 1: damaged"),
        (_break("*/predictions.jsonl", ""), "predictions.jsonl is empty"),
        (lambda folder: (folder / "00" / "metrics.json").unlink(), "No file"),
    ],
)
def test_a_damaged_run_is_one_line(tmp_path: Path, data: Path, damage: Callable[[Path], None], says: str) -> None:
    make_run(tmp_path / "sweep" / "00", data, 5)
    damage(tmp_path / "sweep")
    with pytest.raises(UserError, match=re.escape(says)) as caught:
        write_report([tmp_path / "sweep"])
    assert "\n" not in str(caught.value).strip()
    assert not (tmp_path / "sweep" / "report").exists()


def test_nothing_to_report_is_one_line(tmp_path: Path, data: Path) -> None:
    with pytest.raises(UserError, match="holds no runs"):
        write_report([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        write_report([tmp_path / "none"])
    make_run(tmp_path / "sweep" / "00", data, 5, status="failed")
    with pytest.raises(UserError, match="none of the 1 runs has finished"):
        write_report([tmp_path / "sweep"])


def test_the_predictions_may_be_gone_and_equal_runs_make_equal_bytes(tmp_path: Path, data: Path) -> None:
    runs = [make_run(tmp_path / tuning, data, 5, tuning=tuning) for tuning in ("head", "zero_shot")]
    for run in runs:
        (run / "predictions.jsonl").unlink()
    page = write_report(runs, tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    check(text)
    assert "Confusion matrices" in text and "Comparisons" not in text and "mistakes" not in text
    before = {path.name: path.read_bytes() for path in page.parent.iterdir()}
    write_report(runs, tmp_path / "out")
    assert before == {path.name: path.read_bytes() for path in page.parent.iterdir()}


# --- reading and pairing -------------------------------------------------------------------------------------------


def test_comparisons_pair_equal_seeds_only(tmp_path: Path, data: Path) -> None:
    make_run(tmp_path / "a", data, 2, tuning="head", seed=1)
    make_run(tmp_path / "b", data, 2, tuning="head", seed=2)
    make_run(tmp_path / "c", data, 12, tuning="zero_shot", seed=2)
    make_run(tmp_path / "d", data, 30, tuning="zero_shot", seed=3)
    (verdict,) = by_setting(read_study([tmp_path]))
    assert verdict.comparison.seeds == 1
    assert verdict.comparison.difference == pytest.approx(10 / 40)
    assert verdict.clear and "tuning=head is better than tuning=zero_shot by 25.0 points" in verdict.sentence()


def test_what_no_command_line_says_is_no_seed(tmp_path: Path, data: Path) -> None:
    """Two experiments with steps of their own: one is not the other once more, whatever the seeds."""
    for number, steps in enumerate((60, 60, 7)):
        said = [f"+experiment={'long' if steps == 60 else 'short'}", f"seed={13 + number}"]
        folder = make_run(tmp_path / "s" / f"{number}", data, 4 + number, seed=13 + number, overrides=said)
        config = store.read_config(folder)
        config["trainer"]["max_steps"] = steps
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    study = read_study([tmp_path / "s"])
    assert study.keys == ("trainer.max_steps",)
    assert [(one.values["trainer.max_steps"], one.score.n) for one in study.configurations] == [(7, 1), (60, 2)]


def test_runs_on_other_examples_are_not_compared(tmp_path: Path, data: Path) -> None:
    first, second = make_run(tmp_path / "a", data, 2), make_run(tmp_path / "b", data, 3, pattern="p1")
    path = second / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line | {"row": line["row"] + 1}) + "\n" for line in lines))
    runs = {run.folder: run for run in read_study([tmp_path]).runs}
    assert differences([((1, 1), [runs[first]], [runs[second]])]) is None


def test_candidates_of_different_numbers_are_no_obstacle_to_the_mistakes(tmp_path: Path) -> None:
    """Each run scored its own draw of the test examples, whose longest lists of candidates differ."""
    rows = [
        {"row": 0, "gold": "soup", "predicted": "tea", "probabilities": {"soup": 0.1, "tea": 0.9}},
        {"row": 1, "gold": "a", "predicted": "c", "probabilities": {"a": 0.1, "b": 0.2, "c": 0.7}},
    ]
    runs = []
    for number in (1, 2):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows[:number]))
        said = read_predictions(path, "choice", [], "accuracy")
        runs.append(SimpleNamespace(labels=[], kind="choice", predictions=said))
    found = mistakes(SimpleNamespace(runs=runs), 5)  # type: ignore[arg-type]
    assert [(one.row, one.predicted, one.confidence, one.runs) for one in found] == [
        (0, "tea", pytest.approx(0.9), 2),
        (1, "c", pytest.approx(0.7), 1),
    ]


def test_eras_that_were_measured_at_no_size_in_common_are_not_compared(tmp_path: Path, data: Path) -> None:
    make_run(tmp_path / "s" / "a", data, 4, shots=4)
    make_run(tmp_path / "s" / "b", data, 8, shots=16, tuning="classifier")
    study = read_study([tmp_path / "s"])
    section = ladder_section(study)
    assert section is not None and not leads(study)
    assert not any(isinstance(block, Bullets) for block in section.blocks)


def test_what_a_row_begins_with_is_no_part_of_the_line_before() -> None:
    """TeX reads `[` and `*` behind `\\\\` or a rule as an option of it."""
    lines = latex.table(Table("", ("pattern",), (("[{mask}] {text}",), ("*",)))).splitlines()
    assert lines[5:7] == [r"{}[\{mask\}] \{text\} \\", r"{}* \\"]


def test_markdown_leaves_text_as_it_is() -> None:
    assert markdown.escape("R&D &lt;b&gt; a|b") == r"R&D \&lt;b\&gt; a\|b"


def test_settings_are_sorted_as_a_person_would() -> None:
    assert sorted([64, None, 4, 16], key=natural) == [4, 16, 64, None]
    assert sorted([None, "head", 4], key=natural) == [4, "head", None]
    assert sorted(["p10", "p2", "head"], key=natural) == ["head", "p2", "p10"]


def test_long_settings_lose_their_middle() -> None:
    assert short("a  b\nc", 10) == "a b c"
    cut = short("x" * 50 + "end", 20)
    assert len(cut) <= 20 and cut.endswith("end") and "…" in cut
