"""Fixtures: tiny models of every family, built once in a session (see `families.py`)."""

from __future__ import annotations

import functools
import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from families import FAMILIES, build
from goldens import CONF, DATA, Searched, World, pet
from hydra._internal.hydra import Hydra

from pet_cli import report
from pet_cli.models.loading import load
from pet_cli.models.masked import MaskedLM


def pytest_collection_finish() -> None:
    """What the test modules imported is left out of garbage collections, of which each run asks for one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> Iterator[None]:
    """Hydra composes a run twice, first to see whether `hydra.mode` is set, which it is nowhere here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", lambda self, config_name, overrides: None)
        yield


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny model, by the family's name."""
    return functools.cache(lambda name: build(name, tmp_path_factory.mktemp(name) / "model"))


@pytest.fixture(scope="session")
def _models(family_folder: Callable[[str], Path]) -> Callable[[str], MaskedLM]:
    @functools.cache
    def loaded(name: str) -> MaskedLM:
        lm = load(str(family_folder(name)), device="cpu")
        assert isinstance(lm, MaskedLM)
        lm.keep_pristine()
        return lm

    return loaded


@pytest.fixture
def model_of(_models: Callable[[str], MaskedLM]) -> Callable[[str], MaskedLM]:
    """A family's tiny model with its weights as loaded, by the family's name."""

    def restored(name: str) -> MaskedLM:
        lm = _models(name)
        lm.restore()
        return lm

    return restored


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    """The name of each family in turn."""
    return str(request.param)


@pytest.fixture
def lm(family: str, model_of: Callable[[str], MaskedLM]) -> MaskedLM:
    """Each family's tiny model in turn."""
    return model_of(family)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps end without their report, whose drawing takes longer than all of their runs."""
    monkeypatch.setattr(report, "write_report", lambda folders, out=None: folders[0] / "report" / "index.html")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Where golden runs are made; what is imported by the first is left out of the garbage collections of the rest."""
    made = World(tmp_path_factory.mktemp("golden"))
    made.train(tmp_path_factory.mktemp("first") / "run")
    gc.collect()
    gc.freeze()
    yield made
    gc.unfreeze()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The meals as files that a test may change."""
    return Path(shutil.copytree(DATA / "meals", tmp_path / "data"))


@pytest.fixture
def searched(world: World, data: Path) -> Searched:
    """`pet search` on the meals with a tiny model: exit status, and what it printed."""

    def run(what: str, folder: Path | None, *overrides: str, conf: Path = CONF) -> tuple[int, str]:
        own = {
            "task": "meals",
            "data.path": str(data),
            "data.shots": "4",
            "model.name": str(world.model("bert")),
            "tuning": "head",
            "trainer.max_steps": "2",
            "device": "cpu",
            "search.minutes": "null",
            "search.candidates": "4",
            "search.finalists": "2",
            **({} if folder is None else {"hydra.run.dir": str(folder)}),
        }
        asked = {override.partition("=")[0] for override in overrides}
        defaults = [f"{key}={value}" for key, value in own.items() if key not in asked]
        return pet("search", what, "--config-dir", str(conf), *defaults, *overrides)

    return run
