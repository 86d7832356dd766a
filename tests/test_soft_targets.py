"""`scripts/soft_targets.py` asks a larger model at the ends of prompts; `pretrain.py --soft-targets` learns that."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import families
import generative
import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import pretrain
import soft_targets
from pretraining.targets import SoftTargets, divergence, soft_loss
from pretraining.text import UserError

TEXTS = ["The film was good.", "This story, this long long story about an actor is bad!", "Music."]
PROMPTS = [" It was", " (a", " All of it was"]


@pytest.mark.parametrize("name", generative.CAUSAL)
def test_prompts_side_by_side_are_answered_as_if_alone(name: str, tmp_path: Path) -> None:
    generative.build(name, tmp_path / "teacher")
    families.build("bert", tmp_path / "student")
    teacher = soft_targets.Teacher(tmp_path / "teacher", tmp_path / "student", torch.float32)
    assert {"great", "bad"} & set(teacher.words)
    together = teacher.next_words(TEXTS, PROMPTS)
    for i, text in enumerate(TEXTS):
        for j, prompt in enumerate(PROMPTS):
            ids = torch.tensor([[*teacher.ids(text), *teacher.ids(prompt)]])
            with torch.no_grad():
                alone = teacher.model(ids).logits[0, -1].softmax(-1)
            known = torch.where(teacher.capital >= 0, alone[teacher.capital.clamp(min=0)], 0.0)
            torch.testing.assert_close(together[i, j].exp(), alone[teacher.plain] + known, rtol=1e-4, atol=1e-7)


def test_targets_are_centred_and_the_mean_of_the_prompts() -> None:
    class Told:
        words = ("good", "bad", "odd")
        student_ids = torch.tensor([7, 5, 9])

        def ask(self, texts: list[str], prompts: list[str]) -> Any:
            assert (texts, prompts) == (["a", "b"], ["p", "q"])
            yield [1], torch.tensor([[[-1.0, -4.0, -9.0], [-1.0, -2.0, -9.0]]])
            yield [0], torch.tensor([[[-3.0, -2.0, -9.0], [-1.0, -6.0, -9.0]]])

    def centred(*groups: str) -> dict[str, Any]:
        told: Any = Told()
        return soft_targets.targets(told, ["a", "b"], list(groups), ["p", "q"], keep=1, always={"bad"})

    together = centred("", "")
    assert together["words"].tolist() == [7, 5]
    assert together["scores"].tolist() == [[-0.5, -0.5], [0.5, 0.5]]  # good: -2 and -1, bad: -4 and -3 over the prompts
    assert centred("one file", "another")["scores"].tolist() == [[0, 0], [0, 0]]


def test_a_sentence_leans_to_a_pole_by_all_prompts_alike() -> None:
    class Told:
        words = ("good", "bad", "fine", "dull")
        student_ids = torch.tensor([7, 5, 9, 8])
        place = soft_targets.Teacher.place

        def ask(self, texts: list[str], prompts: list[str]) -> Any:
            leads = torch.tensor([[1.0, 10.0], [3.0, 30.0], [8.0, 80.0]])  # of good and fine in the mean, [N, A]
            yield [0, 1, 2], torch.stack([leads, 0 * leads, leads - 2, 0 * leads - 2], -1)

    told: Any = Told()
    found = soft_targets.targets(
        told, ["a", "b", "c"], [""] * 3, ["p", "q"], 1, set(), [["good", "fine"], ["bad", "dull"]]
    )
    assert found["sides"].tolist() == [[7, 9], [5, 8]]
    assert found["leans"].tolist() == pytest.approx([-2 / 13**0.5, 0, 5 / 13**0.5], abs=1e-3)
    with pytest.raises(UserError, match="'odd' is not one token"):
        soft_targets.targets(told, ["a", "b", "c"], [""] * 3, ["p", "q"], 1, set(), [["odd"], ["bad"]])


def test_the_students_own_answers_are_what_it_says(tmp_path: Path) -> None:
    families.build("bert", tmp_path)
    model, tokenizer = families_model(tmp_path)
    found = soft_targets.own_answers(tmp_path, TEXTS, "[MASK]: {text}", keep=5)
    for text, own in zip(TEXTS, found["scores"], strict=True):
        inputs = tokenizer(f"[MASK]: {text}", return_tensors="pt")
        with torch.no_grad():
            logits = model.eval()(**inputs).logits[inputs["input_ids"] == tokenizer.mask_token_id]
        torch.testing.assert_close(own.float(), logits.log_softmax(-1)[0, found["words"]], atol=1e-2, rtol=1e-2)


def test_a_mask_behind_a_long_text_is_still_asked(tmp_path: Path) -> None:
    families.build("bert", tmp_path)
    texts = ["good " * 150, TEXTS[0]]
    found = soft_targets.own_answers(tmp_path, texts, "{text} It was [MASK].", keep=5)
    assert found["scores"].shape == (2, 5)
    rng = random.Random(0)
    told = soft_targets.sentences(["We fill in [MASK] for fun.", "We had soup that day."], 2, rng)
    assert told == ["We had soup that day."]


def test_what_is_asked_of_a_larger_model_is_what_a_smaller_one_learns_from(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = generative.build(generative.CAUSAL[0], tmp_path / "teacher")
    student, corpus, out = tmp_path / "student", tmp_path / "corpus", tmp_path / "targets"
    families.build("bert", student)
    corpus.mkdir()
    questions = [f"is the story number {i} good ?" for i in range(8)]
    (corpus / "text.txt").write_text("\n".join([*(f"the film number {i} was bad ." for i in range(8)), *questions]))
    (tmp_path / "words.tsv").write_text("Bad\tnegative\n")
    ask = {"ask": ["It was", "All of it was"], "fill": ["{text} It was [MASK]."], "centre": "file"}
    kinds = {"opinion": {**ask, "files": {"text": 10}, "poles": [["great"], ["bad"]]}}
    kinds["question"] = {"own": True, "end": "?", "files": {"text": 4}, "fill": ["[MASK]: {text}"]}  # type: ignore[dict-item]
    (tmp_path / "prompts.json").write_text(json.dumps(kinds))
    given = [str(corpus), str(out), "--teacher", str(teacher), "--student", str(student), "--keep", "5"]
    given += ["--prompts", str(tmp_path / "prompts.json"), "--prefer", str(tmp_path / "words.tsv"), "--threads", "1"]
    assert soft_targets.main(given) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f"{kind}.{end}" for kind in ("opinion", "question") for end in ("json", "safetensors")
    ]
    texts = {kind: json.loads((out / f"{kind}.json").read_text())["texts"] for kind in kinds}
    assert sum("bad" in text for text in texts["opinion"]) == 6 and len(texts["opinion"]) == 10
    assert len(texts["question"]) == 4 and all(text.endswith("?") for text in texts["question"])

    _, tokenizer = families_model(student)
    soft = SoftTargets(out, tokenizer, arguments(out))
    assert [round(float(share), 3) for share in soft.shares] == [0.613, 0.387]  # by the roots of 10 and 4
    own = load_file(out / "question.safetensors")["scores"].float().softmax(-1)
    batches = [soft[step] for step in range(8)]
    kept = [batch for batch in batches if "leans" not in batch]
    assert 0 < len(kept) < len(batches)
    for row in kept[0]["wanted"]:  # as it is: not sharpened
        assert (own - row).abs().sum(-1).min() < 1e-5

    with monkeypatch.context() as patched:
        patched.setattr(soft_targets, "save_file", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
        assert soft_targets.main([*given, "--share", "0.5"]) == 2
    capsys.readouterr()
    assert sorted(path.name for path in out.glob("*.safetensors")) == ["question.safetensors"]  # not the old opinion's

    (tmp_path / "prompts.json").write_text(json.dumps({"opinion": {"files": {"text": 10}, "fill": ["[MASK]"]}}))
    assert soft_targets.main(given) == 2
    assert capsys.readouterr().err.endswith("prompts.json: opinion: nothing under 'ask'\n")
    (tmp_path / "prompts.json").write_text(json.dumps({"opinion": {**ask, "files": {"text": 10}, "fill": ["It was"]}}))
    assert soft_targets.main(given) == 2
    assert "opinion: 'It was' needs {text} and [MASK], each once" in capsys.readouterr().err


def test_sentences_are_short_and_spelled_as_one_writes() -> None:
    lines = ["it 's a quiet , odd film . it wo n't last !", "too short", "no stop at the end of this"]
    found = soft_targets.sentences(lines, 10, random.Random(0))
    assert set(found) <= {"It's a quiet, odd film.", "It won't last!", "No stop at the end of this."}
    assert len(found) >= 2
    questions = [
        *(f"is the story number {i} good?" for i in range(9)),
        *(f"who was actor {i}?" for i in range(9)),
        *lines,
    ]
    found = soft_targets.sentences(questions, 5, random.Random(0), end="?", prefer={"good"})
    assert len(found) == 5 and sum("good" in text for text in found) == 3 and all(text.endswith("?") for text in found)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Sentences of two kinds, for which a larger model wants one of two words."""
    folder, bert = tmp_path / "targets", tmp_path / "bert"
    folder.mkdir()
    families.build("bert", bert)
    _, tokenizer = families_model(bert)
    words = torch.tensor(tokenizer.convert_tokens_to_ids(["great", "bad"]))
    texts = ["the film was good", "a plot"]
    scores = torch.tensor([[2.0, -2.0], [-2.0, 2.0]]).half()
    save_file({"scores": scores, "words": words}, folder / "opinion.safetensors")
    about = {"texts": texts, "fill": ["{text} It was [MASK].", "Just [MASK]! | {text}"]}
    (folder / "opinion.json").write_text(json.dumps(about))
    return folder


def families_model(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    return AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def arguments(folder: Path, *more: str) -> Any:
    return pretrain.parse(["corpus", "out", "--block", "24", "--soft-targets", str(folder), "--soft-batch", "8", *more])


def test_prompts_are_filled_and_cut_in_the_text(told: Path) -> None:
    _, tokenizer = families_model(told.parent / "bert")
    soft = SoftTargets(told, tokenizer, arguments(told))
    batch = soft[3]
    assert all(torch.equal(batch[name], values) for name, values in soft[3].items())
    assert batch["wanted"].shape == (8, 2) and (batch["wanted"].max(1).values > 0.99).all()  # sharpened: 4 against -4
    assert (batch["input_ids"].flatten()[batch["chosen"]] == tokenizer.mask_token_id).all() and len(
        batch["chosen"]
    ) == 8
    ids, second = soft.prompt("Just [MASK]! | {text}", "a plot " * 30)
    separators = [place for place, token in enumerate(ids) if token == tokenizer.sep_token_id]
    assert len(ids) == 24 and separators == [second - 1, 23]
    with pytest.raises(UserError, match="which scripts/soft_targets"):
        SoftTargets(told.parent / "bert" / "none", tokenizer, arguments(told))
    with pytest.raises(UserError, match="not as scripts/soft_targets"):  # a model's folder
        SoftTargets(told.parent / "bert", tokenizer, arguments(told))


def test_words_of_two_poles_part_as_a_sentence_leans(told: Path) -> None:
    _, tokenizer = families_model(told.parent / "bert")
    found = load_file(told / "opinion.safetensors")
    great, bad = found["words"].tolist()
    save_file(
        found | {"sides": torch.tensor([[great], [bad]]), "leans": torch.tensor([2.0, -2.0])},
        told / "opinion.safetensors",
    )
    batch = SoftTargets(told, tokenizer, arguments(told, "--lean-sharpness", "0.5"))[0]
    assert batch["sides"].tolist() == [[great, bad]] * 8
    chance = torch.tensor(1.0).sigmoid()  # 0.5 * 2
    torch.testing.assert_close(batch["leans"], torch.where(batch["wanted"][:, 0] > 0.5, chance, 1 - chance))
    logits = torch.zeros(8, len(tokenizer))
    plain = divergence(logits, batch)
    torch.testing.assert_close(soft_loss(logits, batch, 3.0), plain + 3 * torch.tensor(2.0).log())
    logits[:, great] = 1.0
    gap = soft_loss(logits, batch, 1.0) - divergence(logits, batch)
    torch.testing.assert_close(gap, -(batch["leans"] * chance.log() + (1 - batch["leans"]) * (1 - chance).log()).mean())


@pytest.mark.parametrize("by", ["words", "poles"])
def test_a_model_learns_soft_targets(told: Path, tmp_path: Path, by: str) -> None:
    if by == "poles":  # its words are all alike, and only how far the two part says anything
        found = load_file(told / "opinion.safetensors")
        first, second = found["words"].view(2, 1)
        own = {"scores": 0 * found["scores"], "sides": torch.stack([first, second]), "leans": torch.tensor([3.0, -3.0])}
        save_file(found | own, told / "opinion.safetensors")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "text.txt").write_text("the film was good . a plot this story is bad !\n" * 60)
    out = tmp_path / "out"
    start = [
        "--init-from",
        str(told.parent / "bert"),
        "--soft-targets",
        str(told),
        "--soft-batch",
        "8",
        "--threads",
        "1",
    ]
    options = ["--block", "24", "--steps", "40", "--lr", "1e-2", "--batch", "4"]
    assert pretrain.main([str(tmp_path / "corpus"), str(out), *start, *options]) == 0
    model, tokenizer = families_model(out)
    words = load_file(told / "opinion.safetensors")["words"]
    for text, wanted in {"the film was good": 0, "a plot": 1}.items():
        inputs = tokenizer(f"{text} It was [MASK].", return_tensors="pt")
        with torch.no_grad():
            logits = model.eval()(**inputs).logits[inputs["input_ids"] == tokenizer.mask_token_id]
        assert logits[0, words].argmax() == wanted
        loss = divergence(logits, {"words": words, "wanted": torch.eye(2)[[wanted]]})
        torch.testing.assert_close(loss, -logits[:, words].log_softmax(-1)[0, wanted])
