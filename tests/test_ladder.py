"""The ladder: rungs that compose, pairs without meaning that are left out and listed, and its plot and words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pet_cli.commands.cli import main
from pet_cli.commands.compose import compose
from pet_cli.commands.sweep import combined
from pet_cli.config import eras, files, registry
from pet_cli.errors import Unfit
from pet_cli.report import drawing, envelope, ladder, ladder_plot
from pet_cli.report.ladder_plot import ALL, Series
from pet_cli.report.statistics import Estimate
from pet_cli.results import left_out, summary
from pet_cli.runs import states

RUNGS = files.options("rung")
SMALL = ("model=random", "trainer.max_steps=2", "data.max_test=8")


# --- rungs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNGS)
def test_a_rung_composes_and_says_its_era_first(name: str) -> None:
    era = eras.era(states.plain(compose([f"rung={name}"])))
    assert files.about("rung", name).startswith(f"{eras.ERAS[era]}: ")


def test_every_method_is_of_an_era() -> None:
    found = {name: registry.settings_class("method", name).era for name in registry.KINDS["method"]}
    assert set(found.values()) <= {None, *eras.ERAS} and [name for name in found if found[name] is None] == ["prompt"]


def test_the_ladder_climbs_every_rung_there_is() -> None:
    params = files.parsed(files.find("experiment", "ladder"))["hydra"]["sweeper"]["params"]
    assert sorted(params["+rung"].split(",")) == RUNGS


def test_what_the_command_line_says_of_a_key_takes_the_place_of_the_experiments() -> None:
    assert combined(["+rung=a,b", "seed=1,2", "+rung=c"]) == [["+rung=c", "seed=1"], ["+rung=c", "seed=2"]]


# --- what is left out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tfidf", "classifier", "ensemble"])
def test_a_rung_without_masks_is_left_out_where_masked_words_are_to_be_learned(name: str) -> None:
    with pytest.raises(Unfit, match="mlm_alpha"):
        compose([f"rung={name}", "trainer.mlm_alpha=0.1"])


@pytest.mark.slow
def test_what_makes_no_sense_is_left_out_and_listed_and_a_ladder_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = ["train", "-m", *SMALL, "experiment=ladder", "data.shots=0,2", "seed=1", "hydra.sweep.dir=s"]
    assert main([*sweep, "rung=tfidf,zero_shot,head"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "Sweep of 3 runs" in said and "run 3 of 3: +rung=head data.shots=2: accuracy" in said
    assert "tfidf" in said and "none at all is tuning=zero_shot" in said and "only.zero_shot: at 0 alone" in said
    table = left_out.table(left_out.read(tmp_path / "s"))
    assert [row[:2] for row in table] == [("tfidf, head", "0"), ("zero_shot", "2")]
    assert "| tfidf, head | 0 | data.shots=0: " in (tmp_path / "s" / "summary.md").read_text()
    runs = summary.table(summary.run_folders(tmp_path / "s"))
    assert [(run["rung"], run["data.shots"]) for run in runs] == [("head", 2), ("tfidf", 2), ("zero_shot", 0)]
    shared = (tmp_path / "s" / "summary.md").read_text().splitlines()[2]
    assert "tuning=" not in shared and "method=" not in shared  # each rung has its own
    assert len([path for path in (tmp_path / "s").iterdir() if path.is_dir() and path.name != "report"]) == 3
    page = (tmp_path / "s" / "report" / "index.html").read_text()
    assert 'id="ladder"' in page and "Combinations that were no runs" in page and 'id="curves"' not in page
    assert main([*sweep, "rung=tfidf,zero_shot,head,classifier", "resume=true"]) == 0
    said = capsys.readouterr().err
    assert said.count("done already") == 3 and "Sweep of 4 runs" in said


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            ("rung=tfdif",),
            "rung=tfdif: not one of",
        ),
        (("rung=head", "data.shots=0"), "Nothing of this sweep is left: data.shots=0"),
        (("rung=head", "hydra.callbacks.pet.only.haed=[4]"), "Did you mean 'head'?"),
        (("rung=head", "hydra.callbacks.pet.only.head=4"), "hydra.callbacks.pet.only.head=4: a list of shots"),
        (("rung=head,tfidf", "data.shots=-1,4"), "data.shots=-1"),
        (("tuning=head,zero_shot", "data.shots=0,4"), "data.shots=0"),
    ],
)
def test_a_mistake_is_none_of_what_is_left_out(
    given: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-m", *SMALL, *given, "hydra.sweep.dir=s"]) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "s").exists()


def test_of_a_task_with_its_own_candidates_what_works_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    row = {"premise": "It rained.", "choice1": "The road was wet.", "choice2": "The sun rose.", "question": "effect"}
    rows = [{**row, "label": number % 2, "idx": number} for number in range(8)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    sweep = ["train", "-m", *SMALL, "task=copa", f"data.path={tmp_path}", "data.shots=0", "hydra.sweep.dir=s"]
    assert main([*sweep, "rung=tfidf,zero_shot,classifier"]) == 0
    assert {one.rung for one in left_out.read(tmp_path / "s")} == {"tfidf", "classifier"}


# --- words and plot --------------------------------------------------------------------------------------------------


def rung(name: str, era: str, means: dict[float, float], std: float | None = 0.011) -> ladder.Rung:
    scores = {size: Estimate(3, mean, std, None, None) for size, mean in means.items()}
    return ladder.Rung(name, era, scores, dict.fromkeys(means, 0.0 if 0 in means else 2.0))


MADE = [
    rung("tfidf", "features", {4: 0.5, 16: 0.6, 64: 0.7, 256: 0.8}),
    rung("classifier", "pretraining", {4: 0.6, 16: 0.6, 64: 0.8, 256: 0.9}),
    rung("zero shot", "prompts", {0: 0.65}),
    rung("full", "prompts", {4: 0.6, 16: 0.7, 64: 0.78, 256: 0.78}),
]


def best(rungs: list[ladder.Rung]) -> dict[str, ladder.Best]:
    return {era: ladder.era_line(rungs, era) for era in eras.ERAS if any(one.era == era for one in rungs)}


def test_the_best_of_an_era_at_each_number_of_labels_counts_and_what_learns_nothing_at_each() -> None:
    line = best(MADE)["prompts"]
    assert {size: name for size, (name, _) in line.items()} == {
        **{0: "zero shot", 4: "zero shot"},
        **{16: "full", 64: "full", 256: "full"},
    }


def test_lines_cross_where_the_means_do_on_the_logarithm_of_the_labels() -> None:
    lines = {"prompts": {4: 0.7, 16: 0.72}, "features": {4: 0.6, 16: 0.8}}
    first, second = envelope.stretches(lines, 0)
    # 0.1 ahead at 4 = 2 ** 2, 0.08 behind at 16 = 2 ** 4: level 10 / 18 of the way.
    assert (first.era, second.era) == ("prompts", "features")
    assert first.end == second.start == pytest.approx(2 ** (2 + 2 * 10 / 18))


def test_a_third_line_may_lead_between_two_sizes() -> None:
    lines = {"a": {4: 0.9, 16: 0.1}, "b": {4: 0.1, 16: 0.9}, "c": {4: 0.6, 16: 0.6}}
    own = envelope.stretches(lines, 0)
    assert [one.era for one in own] == ["a", "c", "b"]
    assert [one.end for one in own] == pytest.approx([2 ** (2 + 2 * 3 / 8), 2 ** (2 + 2 * 5 / 8), 16])


def test_from_no_labels_on_and_to_all_of_them() -> None:
    assert envelope.between(0, 4, 0.5, 0) == 2
    assert envelope.between(256, ALL, 0.5, 1024) == pytest.approx(512)
    assert envelope.between(4, 9, 1, 0) == 9 and envelope.between(9, 16, 0, 0) == 9  # not 9.000000000000002


def test_who_wins_where_in_words() -> None:
    said = ladder.sentences(best(MADE), 0)
    # Prompts 0.1 ahead at 16, 0.02 behind at 64: level five sixths of the way, at 2 ** (4 + 2 * 5 / 6) = 51; of
    # features 0.08 ahead at 64, 0.02 behind at 256: level at 2 ** (6 + 2 * 4 / 5) = 194.
    assert said == [
        "Prompts (zero shot, then full) lead up to 51 examples of each label, pretrain-and-fine-tune (classifier) "
        "from 51 on.",
        "Features and pretrain-and-fine-tune: pretrain-and-fine-tune win from 4 to 256; within noise at 16.",
        "Features and prompts: below 190 prompts win, above 190 features; within noise at 256.",
        "Pretrain-and-fine-tune and prompts: below 51 prompts win, above 51 pretrain-and-fine-tune; within noise "
        "at 64.",
    ]


def test_an_era_that_was_measured_at_fewer_sizes_leads_where_it_does() -> None:
    """Between two sizes of its own a line runs as it is drawn; one size alone has none, and is named."""
    features = rung("tfidf", "features", {6: 0.5, 24: 0.6, 96: 0.7})
    assert ladder.sentences(best([features, rung("pet", "prompts", {6: 0.8, 96: 0.9})]), 0)[0] == (
        "Prompts (pet) lead at every number of labels, 6 to 96."
    )
    setfit = rung("setfit", "pretraining", {24: 0.8})
    assert ladder.sentences(best([features, setfit, rung("none", "prompts", {0: 0.4})]), 0)[0] == (
        "Prompts (none) lead up to 6 examples of each label, features (tfidf) from 6 on, but at 24 "
        "pretrain-and-fine-tune (setfit) do."
    )
    crossing = rung("full", "prompts", {6: 0.6, 96: 0.65})  # 0.625 at 24; level 1 / 3 of the way from there to 96
    assert ladder.sentences(best([features, crossing]), 0)[0] == (
        "Prompts (full) lead up to 38 examples of each label, features (tfidf) from 38 on."
    )


def test_a_tie_is_one_and_less_than_an_example_is_more_than_none() -> None:
    level = {4: 0.7, 16: 0.8}
    said = ladder.sentences(best([rung("tfidf", "features", level), rung("full", "prompts", level)]), 0)
    assert said[1] == "Features and prompts: level from 4 to 16."
    early = [rung("list", "features", {0: 0.6, 4: 0.7}), rung("zero shot", "prompts", {0: 0.61})]
    assert "below 0.4 prompts win" in ladder.sentences(best(early), 0)[1]


def test_names_at_the_lines_ends_never_overlap_and_stay_near() -> None:
    assert ladder_plot.apart([0.0, 0.1, 5.0], 1.0, -10, 10) == pytest.approx([-0.45, 0.55, 5.0])
    assert ladder_plot.apart([9.8, 9.9], 1.0, 0, 10) == pytest.approx([9, 10])


def test_none_and_all_stand_beside_the_logarithms() -> None:
    assert ladder_plot.places([0, 4, 16, ALL], 1024) == {0: 0, 4: 2, 16: 4, ALL: 10}
    assert ladder_plot.places([4, 16, ALL], 17)[ALL] == 5.5


def test_the_plot_has_every_line_in_its_eras_colour() -> None:
    series = [
        Series(f"rung {number}", era, [4, 16, 64], [0.5, 0.6, 0.7], [0.1, 0.02, 0.02], [1, 2, 30])
        for number, era in enumerate(era for era in eras.ERAS for _ in range(3))
    ]
    picture = ladder_plot.ladder(
        "ladder-1", "Caption.", [*series, Series("none", "prompts", [0], [0.5], [0.0], [0])], 0, "accuracy"
    )
    assert len(set(ladder_plot.HUES.values())) == len(eras.ERAS)
    assert all(one.name in picture.alt for one in series)
    page = drawing.embedded(picture)
    for colour in ladder_plot.HUES.values():
        assert colour.lower() in picture.svg and colour.lower() not in page  # the page's own colours, light or dark
    assert picture.width >= 1000


def test_the_plot_is_drawn_on_a_dark_ground_too() -> None:
    colours = {colour.lower() for colour in (*drawing.DARK, *ladder_plot.HUES.values())}
    series = [Series(era, era, [4, 16], [0.5, 0.6], [0.1, 0.02], [0.02, 40]) for era in eras.ERAS]
    picture = ladder_plot.ladder("ladder-1", "Caption.", series, 0, "accuracy", "in all")
    assert "<!-- training examples in all -->" in picture.svg
    light, dark = picture.svg, picture.dark[0] if picture.dark else ""
    assert all(colour not in dark for colour in colours) and drawing.DARK[drawing.INK] in dark
    assert sum(colour in light for colour in colours) == len(colours) - 1  # of all but a bar's number
    assert dark.count("<path") == light.count("<path")


def test_seconds_far_apart_have_few_marks_and_near_ones_some() -> None:
    assert drawing.log_ticks(0.0006, 400, most=4) == pytest.approx([0.01, 1, 100])
    assert drawing.log_ticks(1.2, 9, most=4) == pytest.approx([2, 5])
