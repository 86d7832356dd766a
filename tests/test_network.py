"""`method=cnn` and `method=bilstm`: networks from scratch, and where their word vectors come from."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldens import DATA, World, pet, read, read_rows
from hypothesis import given
from hypothesis import strategies as st

from pet_cli import methods
from pet_cli.commands.compose import compose
from pet_cli.data.examples import Example, Split
from pet_cli.data.vectors import read_vectors
from pet_cli.data.words import split_words
from pet_cli.errors import UserError
from pet_cli.methods.bilstm import Recurrence
from pet_cli.methods.cnn import Convolutions
from pet_cli.methods.network import NetworkMethod
from pet_cli.methods.words import SIZE, FileVectors

GOOD, BAD = ("good", "great", "lovely", "fine"), ("bad", "awful", "dull", "poor")
SUBJECTS = ("soup", "bread", "tea")


def told(words: slice) -> list[tuple[str, int]]:
    labeled = [(word, label) for label, own in enumerate((BAD, GOOD)) for word in own[words]]
    return [(f"the {one} was {word}", label) for one in SUBJECTS for word, label in labeled]


TRAIN, NEW = told(slice(2)), told(slice(2, 4))


def split(labeled: list[tuple[str, int]], name: str = "train") -> Split:
    return Split(name, tuple(Example(i, {"text": text}, label) for i, (text, label) in enumerate(labeled)))


def build(*overrides: str) -> NetworkMethod:
    own = ("task=reviews", "device=cpu", "method.min_steps=30", "method.epochs=1", "trainer.learning_rate=0.01")
    method = methods.build(compose([*own, *overrides]))
    assert isinstance(method, NetworkMethod)
    return method


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Vectors that tell good words from bad ones, words unseen in training too."""
    path = tmp_path / "words.txt"
    lines = [f"{word} {sign} {0.1 * i}" for sign, own in ((1, GOOD), (-1, BAD)) for i, word in enumerate(own)]
    path.write_text("\n".join(["8 2", *lines]) + "\n")
    return path


# --- what reads word vectors -----------------------------------------------------------------------------------------


def test_the_strongest_window_counts_and_none_that_lies_in_the_padding() -> None:
    """Words 1, 2, 3, by hand: the windows of two are 01, 12, 23, 30; each gives 4 - sum, so 3, 1, -1, 1."""
    body = Convolutions(1, [2], 1)
    with torch.no_grad():
        body.convolutions[0].weight.fill_(-1)
        body.convolutions[0].bias.fill_(4)
    alone = torch.tensor([[[1.0], [2.0], [3.0]]])
    padded = torch.cat([alone, torch.zeros(1, 4, 1)], dim=1)  # a window of padding alone would give 4
    assert body(alone, torch.tensor([3])).tolist() == [[3.0]]
    assert body(padded, torch.tensor([3])).tolist() == [[3.0]]
    with torch.no_grad():
        body.convolutions[0].weight.fill_(1)
        body.convolutions[0].bias.fill_(0)
    assert body(padded, torch.tensor([3])).tolist() == [[5.0]]


@given(st.integers(1, 5), st.integers(0, 4), st.sampled_from(["cnn", "max", "mean"]))
def test_padding_changes_no_text(length: int, padding: int, kind: str) -> None:
    torch.manual_seed(length)
    body = Convolutions(3, [1, 2, 4], 5) if kind == "cnn" else Recurrence(3, 4, kind)
    text = torch.randn(1, length, 3)
    padded = torch.cat([text, torch.zeros(1, padding, 3)], dim=1)
    longer = torch.randn(1, length + padding, 3)
    with torch.inference_mode():
        alone = body(text, torch.tensor([length]))
        both = body(torch.cat([longer, padded]), torch.tensor([length + padding, length]))
    torch.testing.assert_close(both[1:], alone)


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_the_states_of_both_directions_are_pooled(pooling: str) -> None:
    body = Recurrence(2, 3, pooling)
    text = torch.randn(1, 4, 2)
    states = body.lstm(text)[0][0]
    wanted = states.amax(0) if pooling == "max" else states.mean(0)
    torch.testing.assert_close(body(text, torch.tensor([4]))[0], wanted)


# --- words and their vectors -----------------------------------------------------------------------------------------


def test_words_behind_the_longest_text_are_nobodys() -> None:
    learner = build("method=cnn", "trainer.max_length=8").learner
    learner.learn_words([{"text": "a b c d e f g h spoilt"}])
    assert list(learner.words) == list("abcdefgh")
    assert learner.read([{"text": "h g f e d c b a spoilt"}]).fields == [[[8, 7, 6, 5, 4, 3, 2, 1]]]


def test_words_are_runs_of_letters_and_signs_alone() -> None:
    assert split_words("I don't like it, 5 of 10!") == ["I", "don't", "like", "it", ",", "5", "of", "10", "!"]
    assert split_words("很好 ok") == ["很", "好", "ok"] and split_words("  ") == []


def test_a_sign_that_belongs_to_the_one_before_it_ends_no_word() -> None:
    assert split_words("अच्छी फ़िल्म! بُنٌّ cafe\u0301") == ["अच्छी", "फ़िल्म", "!", "بُنٌّ", "cafe\u0301"]


@pytest.mark.parametrize("header", ["3 2\n", ""])
@pytest.mark.parametrize("packed", [True, False])
def test_both_formats_are_read_packed_or_not(header: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "words"
    text = f"\ufeff{header}good 1 2\nwith two 3.5 -4e-1 \r\nGood 5 6\n".encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    found = read_vectors(path)
    assert found.places == {"good": 0, "with two": 1, "Good": 2}
    np.testing.assert_allclose(found.matrix, [[1, 2], [3.5, -0.4], [5, 6]])
    assert read_vectors(path, 1).places == {"good": 0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("good 1 2\nbad 1\n", "line 2: 1 numbers, where the lines before have 2"),
        ("good 1 2\nbad 1 2 3\n", "line 2: 3 numbers, where the lines before have 2"),
        ("2 3\ngood 1 2\nbad 1 2\n", "line 2: 2 numbers"),
        ("good 1 2\nbad 1 x\n", "line 2: 'x' is no number"),
        ("good 1 nan\n", "line 1: a number that is NaN"),
        ("good\n", "line 1: a word without numbers"),
        ("good 1 2\n\nbad 1 2\n", "line 2: empty"),
        ("3 2\ngood 1 2\nbad 1 2\n", "promises 3 words, and 2 are there"),
        ("", "holds no word vectors"),
        (b"2 2\ngood \xff\xfe\x00", "line 2: not text"),
        (gzip.compress(b"good 1 2\n" * 9, mtime=0)[:-12], "cannot be read"),
        (gzip.compress(b"", mtime=0)[:10] + b"\x07damaged", "cannot be read"),
    ],
)
def test_a_broken_file_is_told_with_its_line(text: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError) as told:
        read_vectors(path)
    assert said in str(told.value) and str(path) in str(told.value) and "\n" not in str(told.value)


def test_a_word_is_looked_up_as_written_then_small_and_else_is_zero(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("good 3 4\nIt 0 5\n")
    source = FileVectors(read_vectors(tmp_path / "words"))
    found = source.vectors(["Good", "it", "It", "none"])
    assert found.square().mean(dim=1).sqrt()[0].item() == pytest.approx(SIZE)  # both vectors are as long
    assert found[:, 1].ne(0).tolist() == [True, False, True, False] and not found[3].any()
    torch.testing.assert_close(found[0, 0] / found[0, 1], torch.tensor(0.75))


# --- methods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn", "bilstm"])
def test_words_that_tell_labels_apart_are_learned(name: str) -> None:
    method = build(f"method={name}", "method.width=20")
    method.fit({"train": split(TRAIN), "dev": split(TRAIN[:4], "dev")})
    texts = split([(text.replace("the", "a"), label) for text, label in TRAIN])
    assert method.predict(texts).argmax(1).tolist() == texts.gold
    told = method.facts()
    assert told["steps"] == 30 and told["dev_score"] == 1.0 and told["last_loss"] < told["first_loss"]
    assert method.predict(Split.passing([{"text": ""}, {"text": "zzz"}])).std(axis=0).max() < 1e-6  # nothing is known


@pytest.mark.parametrize("static", ["true", "false"])
def test_vectors_of_a_file_tell_of_words_that_no_training_text_has(static: str, vectors: Path) -> None:
    method = build("method=cnn", f"method.vectors={vectors}", f"method.static={static}")
    method.fit({"train": split(TRAIN)})
    assert method.predict(split(NEW)).argmax(1).tolist() == split(NEW).gold
    start = method.learner.source.vectors(["good"])[0]
    learned = method.learner.network.vectors[method.learner.words["good"]]
    assert torch.equal(start, learned) == (static == "true")
    method.predict(split(NEW, "test"))  # of four words the file has the last
    assert method.facts()["unknown_words"] == (0.75 if static == "true" else 0)


@pytest.mark.parametrize("source", ["random", "file", "model"])
@pytest.mark.parametrize("name", ["cnn", "bilstm"])
def test_a_folder_says_again_what_was_fitted(
    name: str, source: str, vectors: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = "words.txt" if source == "file" else source
    folder = world.train(tmp_path / "run", f"method={name}", f"method.vectors={named}", "method.width=8")
    monkeypatch.chdir("/")
    method = methods.load(folder)
    rows = read_rows(folder / "predictions.jsonl")
    texts = [{"text": row["text"]} for row in read_rows(DATA / "meals" / "test.jsonl")]
    scores = method.predict(Split("test", tuple(Example(i, one, None) for i, one in enumerate(texts))))
    shares = torch.from_numpy(scores).double().softmax(1).tolist()
    assert [list(row["probabilities"].values()) for row in rows] == [
        [float(f"{p:.6g}") for p in line] for line in shares
    ]


def test_other_vectors_than_it_was_trained_on_are_refused(vectors: Path, world: World, tmp_path: Path) -> None:
    folder = world.train(tmp_path / "run", "method=cnn", f"method.vectors={vectors}")
    vectors.write_text(vectors.read_text().replace("good 1", "good 2"))
    code, said = pet("predict", str(folder), "--text", "good")
    assert code == 2 and "other word vectors" in said and len(said.strip().splitlines()) == 1
    vectors.unlink()
    code, said = pet("predict", str(folder), "--text", "good")
    assert code == 2 and f"{vectors}: no such file" in said and len(said.strip().splitlines()) == 1


def test_numbers_and_several_labels_are_learned_too(world: World, tmp_path: Path) -> None:
    for task in ("degrees", "dishes"):
        folder = world.train(tmp_path / task, "method=bilstm", "method.width=8", task=task)
        assert read(folder / "metrics.json")["steps"] == 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method=cnn", "method.vectors=randon"], "Did you mean 'random'?"),
        (["method=cnn", "method.windows=[0]"], "method.windows"),
        (["method=cnn", "method.windows=3"], "method.windows"),
        (["method=cnn", "method.dropout=1"], "method.dropout"),
        (["method=bilstm", "method.pooling=cls"], "method.pooling"),
        (["method=bilstm", "ensemble=pet"], "ensemble=pet"),
        (["method=bilstm", "method.filters=3"], "method=cnn"),
    ],
)
def test_a_mistake_is_one_line(
    overrides: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = pet("train", *overrides)
    assert code == 2 and said in told and len(told.strip().splitlines()) == 1
