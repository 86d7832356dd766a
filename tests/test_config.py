"""The settings: said once in `conf`, typed once, and read alike by the command line, a notebook and a finished run."""

from __future__ import annotations

import dataclasses
import re
import textwrap
import typing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import pet_cli
from pet_cli.commands.cli import main
from pet_cli.commands.compose import compose
from pet_cli.config import files, registry
from pet_cli.config.build import build, option, typed
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError

CONF = files.conf_dir()
KINDS = [(group, name) for group, kinds in registry.ALL.items() for name in kinds]
OPTIONS = [(group, name) for group in ("task", "model", *registry.KINDS) for name in files.options(group)]


def lines(path: Path) -> dict[str, str]:
    """The lines of a config file that say a key, by the dotted key; Hydra's own and the list of defaults left out."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"( *)(\w+):", line):
            depth = len(match[1])
            above = [one for one in above if one[0] < depth]
            found[".".join([*(key for _, key in above), match[2]])] = line
            above.append((depth, match[2]))
    return {key: line for key, line in found.items() if key.partition(".")[0] not in ("hydra", "defaults")}


SOURCES = [CONF / "train.yaml", CONF / "base.yaml", *(CONF / group / f"{name}.yaml" for group, name in KINDS)]


@pytest.mark.parametrize("path", SOURCES, ids=[f"{path.parent.name}/{path.stem}" for path in SOURCES])
def test_every_key_has_a_comment(path: Path) -> None:
    bare = [key for key, line in lines(path).items() if "#" not in line and not line.rstrip().endswith(":")]
    assert lines(path) and not bare


def keys(cls: type, prefix: str = "") -> set[str]:
    hints = typing.get_type_hints(cls)
    found: set[str] = set()
    for field in dataclasses.fields(cls):
        inner = hints[field.name]
        found |= keys(inner, f"{prefix}{field.name}.") if dataclasses.is_dataclass(inner) else {prefix + field.name}
    return found


@pytest.mark.parametrize(("group", "name"), KINDS)
def test_a_kind_has_a_file_of_its_name_that_says_each_of_its_keys(group: str, name: str) -> None:
    said = files.read(group, name)
    assert said["name"] == name
    assert set(said) == keys(registry.settings_class(group, name))


def test_the_root_and_its_sections_say_each_key_once() -> None:
    said = [key for path in SOURCES[:2] for key, line in lines(path).items() if not line.rstrip().endswith(":")]
    wanted = keys(PetConfig) - set(registry.KINDS)
    inside = {key for key in said if not re.search(r":\s*#", lines(SOURCES[1]).get(key, ""))}
    assert inside == wanted and len(said) == len(set(said))


def test_settings_have_no_defaults_of_their_own() -> None:
    for cls in [PetConfig, *(registry.settings_class(*one) for one in KINDS)]:
        for field in dataclasses.fields(cls):
            assert field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING, field.name


@pytest.mark.parametrize(("group", "name"), KINDS)
def test_what_does_a_kind_is_where_its_line_says(group: str, name: str) -> None:
    assert callable(registry.implementation(group, name))


@pytest.mark.slow
@pytest.mark.parametrize(("group", "name"), [one for one in OPTIONS if one[1] != "custom"])
def test_files_are_read_as_hydra_reads_them(group: str, name: str) -> None:
    assert asdict(build({group: name})) == asdict(compose([f"{group}={name}"]))


def test_no_kind_is_known_by_its_name_outside_the_registry() -> None:
    names = "|".join(sorted({name for _, name in KINDS}, key=len, reverse=True))
    by_name = re.compile(
        rf"""\.name\)? (==|!=|in|not in) .*["']({names})["']|type\(\w*(ensemble|tuning|settings)\w*\) is"""
        r"|getattr\((self\.)?(config\.)?(settings|tuning|ensemble), \""
    )
    for path in sorted(Path(pet_cli.__file__).parent.rglob("*.py")):
        if path.parent.name == "config":
            continue
        found = by_name.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path}: {found and found.group()}"


def test_lists_of_options_show_no_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "tunings"]) == 0
    assert main(["train", "tuning=lorra"]) == 2
    said = capsys.readouterr()
    assert "lora" in said.out and "Did you mean 'lora'" in said.err
    assert "schema" not in said.out + said.err


# --- a folder of configs of one's own ------------------------------------------------------------------------------

SHORT = {
    "task/moods.yaml": """\
        # moods: sad or glad?
        name: moods
        fields: {text: text}
        labels: [sad, glad]
        patterns: ["{text} It was {mask}."]
        verbalizers:
          - {sad: bad, glad: good}
        """,
    "tuning/small_lora.yaml": "defaults: [lora, _self_]\nrank: 2\nlearning_rate: 2e-3\n",
    "tuning/bare_lora.yaml": "name: lora\nrank: 3\n",
    "tuning/short_student.yaml": "defaults: [classifier, _self_]\nepochs: 2\nhead_learning_rate: 5e-3\n",
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "it's mine, [a=b]", SHORT)


def write(folder: Path, contents: dict[str, str | bytes]) -> Path:
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("group", "name", "said"),
    [
        ("task", "moods", {"labels": ["sad", "glad"], "label": "label", "target": "label", "pvps": []}),
        ("tuning", "small_lora", {"rank": 2, "learning_rate": 2e-3, "alpha": 16.0, "epochs": 5}),
        ("tuning", "bare_lora", {"rank": 3, "learning_rate": 1e-3, "alpha": 16.0}),
    ],
)
def test_a_short_file_of_ones_own_is_enough(mine: Path, group: str, name: str, said: dict[str, Any]) -> None:
    for config in (compose([f"{group}={name}"], str(mine)), build({group: name}, config_dir=str(mine))):
        found = asdict(getattr(config, group))
        assert {key: found[key] for key in said} == said


@pytest.mark.parametrize("name", ["tuning/lora.yaml", "task/sst2.yaml", "train.yaml", "tuning/mine.yml"])
@pytest.mark.parametrize("command", [["train"], ["show", "--text", "a"], ["list", "tasks"]])
def test_a_file_with_the_name_of_one_of_ours_is_refused(
    command: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine", {name: "name: lora\n"})
    assert main([*command, "--config-dir", "mine"]) == 2
    said = capsys.readouterr().err
    assert name in said and len(said.splitlines()) == 1
    with pytest.raises(UserError, match=name):
        build(config_dir="mine")


@pytest.mark.parametrize("wanted", [None, "short_student"])
def test_a_run_says_how_its_student_trains(mine: Path, wanted: str | None) -> None:
    given = [] if wanted is None else [f"ensemble.student_tuning={wanted}"]
    config = compose(["ensemble=pet", *given], str(mine))
    student = config.ensemble.student_tuning
    assert student.name == "classifier"
    assert (student.epochs, student.head_learning_rate) == ((3, 1e-3) if wanted is None else (2, 5e-3))
    assert typed(asdict(config)).ensemble.student_tuning == student  # as the run's folder gives it back


def test_a_student_with_a_prompt_trains_as_the_members_or_else_whole() -> None:
    for tuning, wanted in (("lora", "lora"), ("zero_shot", "full")):
        config = compose(["ensemble=pet_small", f"tuning={tuning}"])
        assert config.ensemble.student_tuning == option("tuning", wanted)


LORA_AND_IPET = {"task": "reviews", "model": "random", "tuning": "lora", "ensemble": "ipet", "scoring": "words"}


@pytest.mark.parametrize(
    ("key", "refused", "taken"),
    [
        ("seed", -1, 0),
        ("seed", 2**32, 2**32 - 1),
        ("model.learning_rate", 0, 1e-9),
        ("data.shots", -1, 0),
        ("data.dev_shots", -1, 0),
        ("data.max_test", 0, 1),
        ("data.max_unlabeled", 0, 1),
        ("data.test_fraction", 0, 0.01),
        ("data.test_fraction", 1, 0.99),
        ("data.seed", -1, 0),
        ("trainer.max_steps", 0, 1),
        ("trainer.learning_rate", 0, 1e-9),
        ("trainer.learning_rate", 100, 99),
        ("trainer.batch_size", 0, 1),
        ("trainer.eval_batch_size", 0, 1),
        ("trainer.max_length", 7, 8),
        ("trainer.weight_decay", -0.1, 0),
        ("trainer.weight_decay", 101, 100),
        ("trainer.warmup", -0.1, 0),
        ("trainer.warmup", 1, 0.99),
        ("trainer.grad_clip", -1, 0),
        ("trainer.eval_every", 0, 1),
        ("trainer.seed", 2**32, 2**32 - 1),
        ("scoring.learned_rate", 0, 0.01),
        ("scoring.learned_penalty", -0.1, 0),
        ("tuning.epochs", 0, 1),
        ("tuning.min_steps", 0, 1),
        ("tuning.rank", 0, 1),
        ("tuning.alpha", 0, 0.1),
        ("tuning.learning_rate", 0, 1e-9),
        ("ensemble.seeds", 0, 1),
        ("ensemble.alpha", -0.1, 0),
        ("ensemble.alpha", 1, 0.99),
        ("ensemble.temperature", 0, 0.1),
        ("ensemble.unlabeled_batch_size", 0, 1),
        ("ensemble.student_steps", 0, 1),
        ("ensemble.student_batch_size", 0, 1),
        ("ensemble.generations", 0, 1),
        ("ensemble.subset", 0, 0.1),
        ("ensemble.subset", 1.1, 1),
        ("ensemble.growth", 1, 1.1),
        ("ensemble.first", 0, 1),
    ],
)
def test_a_number_is_taken_to_the_end_of_its_range_and_no_further(key: str, refused: float, taken: float) -> None:
    build(LORA_AND_IPET, {key: taken}).check()
    with pytest.raises(UserError, match=f"^{re.escape(key)}="):
        build(LORA_AND_IPET, {key: refused}).check()
