"""What leaves the program as files: whole or not at all, in one line where it cannot, and over nothing but a file."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from pet_cli.base.files import (
    atomic,
    atomic_folder,
    locked,
    read_json,
    read_jsonl,
    remove_partial,
    write_json,
    write_jsonl,
    write_text,
)
from pet_cli.commands.cli import main
from pet_cli.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "a.txt"
    write_text(place, "first")
    with pytest.raises(RuntimeError), atomic(place) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert place.read_text() == "first" and names(place.parent) == ["a.txt"]


def test_a_new_file_is_as_readable_as_any_other_and_a_replaced_one_as_it_was(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
        (tmp_path / "b").touch(0o600)
        write_text(tmp_path / "b", "")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o640, 0o600]


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a.txt")
    for text in ("new", "again"):
        write_text(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "a.txt").read_text() == text
    assert names(tmp_path) == ["link", "there"] and names(tmp_path / "there") == ["a.txt"]


def test_a_pipe_and_a_device_are_written_to_and_stay(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join()
    assert read == ["through"] and pipe.is_fifo()
    write_text(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()


def test_standard_output_in_a_file_is_written_to(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from pet_cli.base.files import write_text; write_text(Path('/dev/stdout'), 'said')"
    )
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "said"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("a/b", "what its folder would be is a file"),
        ("folder", "it is a folder"),
        ("/proc/no/folder/at/all", "No such file or directory"),
        ("/dev/full", "No space left on device"),
    ],
)
def test_what_cannot_be_written_is_one_line(place: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / place, tmp_path / "link"):
        (tmp_path / "link").symlink_to(tmp_path / place)
        with pytest.raises(UserError, match=f"^Cannot write .*({place}|link): {why}") as raised:
            write_text(path, "text")
        (tmp_path / "link").unlink()
        assert "\n" not in str(raised.value) and names(tmp_path) == ["a", "folder"]


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file may grow beyond 1,000 bytes: the nearest to a full disk that a test can have."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(little_room: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^Cannot write .*a.txt: File too large"):
        write_text(tmp_path / "a.txt", "x" * 5000)
    big = {"w": torch.zeros(5000)}
    with (
        pytest.raises(UserError, match=r"^Cannot write .*w.safetensors: File too large"),
        atomic(tmp_path / "w.safetensors") as temporary,
    ):
        save_file(big, temporary)
    with (
        pytest.raises(UserError, match=r"^Cannot write .*model: File too large"),
        atomic_folder(tmp_path / "model") as folder,
    ):
        save_file(big, folder / "w.safetensors")
    assert names(tmp_path) == []


def test_half_a_surrogate_pair_is_written_as_its_escape_and_read_again(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"text": "half \ud83d of it"})
    assert read_json(tmp_path / "a.json") == {"text": "half \ud83d of it"}
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"text": "half \ud83d of it"}
    write_text(tmp_path / "a.yaml", yaml.safe_dump({"text": "half \ud83d"}, allow_unicode=True))
    assert yaml.safe_load((tmp_path / "a.yaml").read_text(encoding="utf-8")) == {"text": "half \ud83d"}


def test_lines_of_json_end_at_line_feeds_alone(tmp_path: Path) -> None:
    rows = [{"a\u2028text": "next\x85line"}, {"text": "b\u2029\x0c\x1c\r"}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert read_jsonl(tmp_path / "a.jsonl") == rows


def test_a_folder_takes_the_place_of_another_whole(tmp_path: Path) -> None:
    for number in ("1", "2"):
        with atomic_folder(tmp_path / "model") as folder:
            (folder / number).touch()
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["2"]
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model") as folder:
        (folder / "3").touch()
        raise RuntimeError
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["2"]


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from pet_cli.base.files import atomic, write_text\n"
        "write_text(Path('members/p0/a.json'), 'whole')\n"
        "with atomic(Path('members/p0/b.json')) as path:\n"
        "    path.write_text('half'); path.with_name('.tmpA1b2C3').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    member = tmp_path / "members" / "p0"
    assert len(names(member)) == 2
    for mine in (".coverage.combined", ".gitconfig.personal", ".tmpA1b2C3", ".notes.a1b2c3d4", "of.pet-partial"):
        (member / mine).write_text("a user's")
    (member / ".cache.k3d92k1a").mkdir()
    kept = [name for name in names(member) if not (name.startswith(".") and name.endswith(".pet-partial"))]
    remove_partial(tmp_path)
    assert names(member) == kept and len(kept) == 7


def test_resuming_into_a_folder_of_the_users_own_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / ".old.pet-partial").mkdir(parents=True)
    (tmp_path / "mine" / "metrics.json").write_text("mine")
    assert main(["train", "model=random", "hydra.run.dir=mine", "resume=true"]) == 2
    assert "mine" in capsys.readouterr().err
    assert names(tmp_path / "mine") == [".old.pet-partial", "metrics.json"]
    assert (tmp_path / "mine" / "metrics.json").read_text() == "mine"


def test_of_several_that_want_a_folder_one_at_a_time_is_inside(tmp_path: Path) -> None:
    inside, seen = [], []
    turn = threading.Event()

    def work() -> None:
        with locked(tmp_path):
            inside.append(1)
            seen.append(len(inside))
            turn.wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 5 and names(tmp_path) == []
