"""`pet predict`: what a finished run says of new texts, whatever its kind, their number, their order and encoding."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pet_cli import methods
from pet_cli.commands import predict as command
from pet_cli.commands.cli import main
from pet_cli.data.examples import Split
from pet_cli.runs import store

pytestmark = pytest.mark.xdist_group("predict")

TEXTS = (
    "A lovely evening.",
    "Cold soup",
    "so-so",
    "I would come again, and again, and bring everybody I know.",
    "Awful",
)
SHORT = ("model=random", "trainer.max_steps=3", "data.shots=4", "data.max_test=16")
WITHOUT_MODEL = ("method=tfidf", "data.shots=4", "data.max_test=16")
KINDS: dict[str, tuple[str, ...]] = {
    "tfidf": WITHOUT_MODEL,
    "full": SHORT,
    "zero_shot": (*SHORT, "tuning=zero_shot"),
    "head": (*SHORT, "tuning=head"),
    "classifier": (*SHORT, "tuning=classifier"),
    "lora": (*SHORT, "tuning=lora"),
    "patterns": (*SHORT, "tuning=soft_prompt", "ensemble=patterns", "ensemble.weights=[1,2,3,4,5,6]"),
    "confidence": (*SHORT, "ensemble=patterns", "ensemble.patterns=[p0,p2]", "ensemble.weights=confidence",
                   "save_model=always"),
    "vote": (*SHORT, "tuning=head", "ensemble=patterns", "ensemble.patterns=[p0,p1,p2]", "ensemble.combine=vote"),
    "shared": (*SHORT, "ensemble=patterns_shared", "ensemble.patterns=[p0,p1]", "save_model=always"),
    "shared_learned": (*SHORT, "ensemble=patterns_shared", "ensemble.patterns=[p0,p1]", "save_model=always",
                       "verbalizer=all", "scoring.combine=learned"),
    "pet": (*SHORT, "ensemble=pet_small", "ensemble.student_steps=3", "ensemble.patterns=[p0,p1]",
            "data.max_unlabeled=12"),
}  # fmt: skip


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a finished run of a kind, made when it is first asked for."""
    root = tmp_path_factory.mktemp("runs")

    def run(kind: str) -> Path:
        folder = root / kind
        if not folder.is_dir():
            assert main(["train", f"hydra.run.dir={folder}", *KINDS[kind]]) == 0
        return folder

    return run


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_run_says_again_what_it_wrote(
    kind: str, runs: Callable[[str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = runs(kind)
    wrote = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    package = Path(command.__file__).parent.parent / "embedded" / "reviews" / "test.jsonl"
    rows = package.read_text(encoding="utf-8").splitlines()
    (tmp_path / "again.jsonl").write_text("".join(rows[one["row"]] + "\n" for one in wrote))
    capsys.readouterr()
    assert main(["predict", str(folder), "--file", str(tmp_path / "again.jsonl")]) == 0
    again = said(capsys)
    assert [one["predicted"] for one in again] == [one["predicted"] for one in wrote]
    assert [one["probabilities"] for one in again] == [one["probabilities"] for one in wrote]
    labels = ["negative", "positive"]
    for one in again:
        assert list(one["probabilities"]) == labels
        assert one["predicted"] == max(labels, key=one["probabilities"].__getitem__)
    if kind != "tfidf":
        assert len({one["predicted"] for one in again}) == 2 or kind in ("pet", "classifier", "zero_shot", "lora"), kind


@pytest.mark.parametrize("kind", ["tfidf", "head", "patterns"])
def test_no_text_s_answer_depends_on_the_others(kind: str, runs: Callable[[str], Path]) -> None:
    method = methods.load(runs(kind))
    rows = [{"text": text} for text in TEXTS]
    alone = np.concatenate([store.softmax(method.predict(Split.passing([row]))) for row in rows])
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [3, 3, 1, 0, 0, 2, 4]):
        together = store.softmax(method.predict(Split.passing([rows[i] for i in order])))
        np.testing.assert_allclose(together, alone[order], rtol=0, atol=0 if kind == "tfidf" else 1e-6)
    assert len({line.tobytes() for line in alone.round(4)}) > 1


def test_texts_are_answered_in_a_stream_in_their_order(
    runs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No more is read than a chunk before it is answered."""
    folder = runs("tfidf")
    texts = [f"text number {number}, {'good' if number % 3 else 'bad'}" for number in range(11)]
    read: list[str] = []
    asked: list[tuple[int, int]] = []

    def lines() -> Iterator[tuple[str, str]]:
        for text in texts:
            read.append(text)
            yield "a line", text

    kind = methods.kind_of(methods.load(folder).config)
    predict = kind.predict

    def watched(self: methods.Method, split: Split) -> np.ndarray:
        asked.append((len(split), len(read)))
        return predict(self, split)

    monkeypatch.setattr(methods, "CHUNK", 4)
    monkeypatch.setattr(command, "standard_input", lines)
    monkeypatch.setattr(kind, "predict", watched)
    capsys.readouterr()
    assert main(["predict", str(folder)]) == 0
    assert [one["text"] for one in said(capsys)] == texts
    assert asked == [(4, 4), (4, 8), (3, 11)]


def test_lines_and_answers_match(
    runs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runs("tfidf")
    capsys.readouterr()
    stdin(monkeypatch, b"\xef\xbb\xbfgood\r\n\n   \nbad\n")
    assert main(["predict", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["good", "", "", "bad"]
    assert "2 of 4" in err
    assert json.loads(out.splitlines()[1])["predicted"] in ("negative", "positive")


@pytest.mark.parametrize(
    ("arguments", "content", "told"),
    [
        (["--text", "a", "--file", "x.jsonl"], b"", "--file and --text"),
        ([], b"", "Nothing to predict"),
        (["--file", "header.csv"], b"", "header.csv has no rows"),
        ([], "schön\n".encode("latin-1"), "line 1: not UTF-8"),
        (["--output", "."], b"good\n", "folder"),
        (["--output", "no.txt/x.jsonl"], b"good\n", "Cannot write"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    content: bytes,
    told: str,
    runs: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    folder = runs("tfidf")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.txt").write_text("a file")
    (tmp_path / "header.csv").write_text("text\n")
    capsys.readouterr()
    stdin(monkeypatch, content)
    assert main(["predict", str(folder), *arguments]) == 2
    err = capsys.readouterr().err.strip()
    assert told in err and len(err.splitlines()) == 1


def test_a_sweep_s_folder_offers_its_runs(runs: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs("tfidf")
    capsys.readouterr()
    assert main(["predict", str(folder.parent), "--text", "good"]) == 2
    err = capsys.readouterr().err.strip()
    assert "give one of them" in err and str(folder.parent) in err and len(err.splitlines()) == 1


def test_closed_and_typed_standard_input_are_told(
    runs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(runs("tfidf"))
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["predict", folder]) == 2 and "closed" in capsys.readouterr().err
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert main(["predict", folder]) == 2 and "Nothing to predict" in capsys.readouterr().err


def test_a_process_of_another_encoding_loads_no_torch_for_features(runs: Callable[[str], Path]) -> None:
    folder = str(runs("tfidf"))
    code = (
        "import sys; from pet_cli.commands.cli import main\n"
        "status = main(sys.argv[1:]); sys.stdout.flush(); sys.exit(status or ('torch' in sys.modules))"
    )
    content = '非常好\n{"text": "half \\ud83d a pair"}\n'.encode()
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", folder],
        input=content,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    texts = [json.loads(line)["text"] for line in done.stdout.decode("ascii").splitlines()]
    assert texts[0] == "非常好" and texts[1].startswith("half ")


def test_output_goes_through_links_and_pipes(runs: Callable[[str], Path], tmp_path: Path) -> None:
    folder = str(runs("tfidf"))
    (tmp_path / "there.jsonl").write_text("old\n")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "there.jsonl")
    assert main(["predict", folder, "--text", "good", "--output", str(tmp_path / "link.jsonl")]) == 0
    assert (tmp_path / "link.jsonl").is_symlink()
    assert json.loads((tmp_path / "there.jsonl").read_text())["text"] == "good"
    assert main(["predict", folder, "--text", "good", "--output", os.devnull]) == 0
    assert not Path(os.devnull).is_file()


def test_a_run_of_the_version_before_loads(runs: Callable[[str], Path], tmp_path: Path) -> None:
    """Its config has no methods, and its ensembles tell their members in the metrics."""
    import shutil

    for kind in ("head", "patterns"):
        old = tmp_path / kind
        shutil.copytree(runs(kind), old)
        for path in old.rglob("config.yaml"):
            text = path.read_text()
            assert "method:\n  name: prompt\n" in text
            path.write_text(text.replace("method:\n  name: prompt\n", ""))
        (old / "members.json").unlink(missing_ok=True)
        rows = Split.passing([{"text": text} for text in TEXTS])
        np.testing.assert_allclose(methods.load(old).predict(rows), methods.load(runs(kind)).predict(rows), rtol=1e-12)


@pytest.mark.parametrize("name", ["trained.safetensors", "vocabulary.json"])
def test_what_a_run_lost_is_told_by_the_name_of_its_file(
    name: str, runs: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    broken = tmp_path / "run"
    shutil.copytree(runs("tfidf"), broken)
    for damage in (lambda path: path.write_text("{}"), Path.unlink):
        damage(broken / name)
        capsys.readouterr()
        assert main(["predict", str(broken), "--text", "good"]) == 2
        err = capsys.readouterr().err.strip()
        assert len(err.splitlines()) == 1 and str(broken) in err
