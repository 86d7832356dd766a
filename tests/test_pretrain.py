"""`scripts/pretrain.py`: its models learn and load, see both segments, and a stopped run goes on as if it had not."""

from __future__ import annotations

import gzip
import itertools
import json
import lzma
import math
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import measure_model
import pretrain
from pet_cli.commands.compose import compose
from pretraining import loop
from pretraining.batches import MaskedBatches, Schedule, SpanBatches, cut_blocks, encode
from pretraining.models import like_words, looks, new_model, start_spans
from pretraining.overlap import leave_out
from pretraining.text import UserError, read_corpus, train_tokenizer

pytestmark = pytest.mark.xdist_group("pretrain")

PLACES = {"paris": "france", "rome": "italy", "tokyo": "japan", "cairo": "egypt", "lima": "peru"}
SHAPE = ["--layers", "1", "--hidden", "32", "--heads", "2", "--vocab-size", "320"]
SMALL = [*SHAPE, "--block", "32", "--batch", "16", "--threads", "1"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The runs set the number of threads; the tests after them get theirs back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files, one of each packing: sentences whose words foretell one another."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(0)
    animals = {"dog": "barks in the yard", "cat": "sleeps on the sofa", "bird": "sings in the tree", "fish": "swims"}

    def sentences(number: int) -> str:
        lines = []
        for _ in range(number):
            animal, place = rng.choice(list(animals)), rng.choice(list(PLACES))
            lines.append(f"The {rng.choice(['old', 'young', 'small'])} {animal} {animals[animal]} all day.")
            lines.append(f"{place.title()} is the capital of {PLACES[place].title()}, as you know!")
        return "\n".join(lines) + "\n\n"

    (folder / "plain.txt").write_text(sentences(400), encoding="utf-8")
    with lzma.open(folder / "packed.txt.xz", "wt", encoding="utf-8") as file:
        file.write(sentences(100))
    with gzip.open(folder / "zipped.txt.gz", "wt", encoding="utf-8") as file:
        file.write(sentences(100))
    (folder / "notes.md").write_text("not a part of it")
    return folder


def history(out: Path) -> list[dict[str, float]]:
    return list(json.loads((out / "pretrain.json").read_text())["history"])


def batches(corpus: Path, *options: str) -> tuple[Any, Any]:
    """What makes the batches of a run, and its schedule."""
    args = pretrain.parse([str(corpus), "unused", *SMALL, *options])
    lines = read_corpus(args.corpus, args.repeat)
    tokenizer = train_tokenizer([line for texts in lines.values() for line in texts], args)
    text = encode(lines, [args.repeat.get(name, 1.0) for name in lines], tokenizer, args)
    make = (MaskedBatches if args.objective == "mlm" else SpanBatches)(text, tokenizer, args)
    return make, Schedule(make, text.split()[0], args)


def test_a_masked_model_learns_and_loads(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    command = [str(corpus), str(out), *SMALL, "--steps", "200", "--lr", "2e-2", "--store", "float16"]
    assert pretrain.main(command) == 0
    first, last = history(out)[0], history(out)[-1]
    assert last["heldout_loss"] < 0.5 * first["heldout_loss"]  # the first one is that of guessing by frequency
    assert last["heldout_accuracy"] > 0.6
    assert all(path.is_file() for path in out.iterdir())  # no checkpoint is left
    assert all(weight.dtype == torch.float16 for weight in load_file(out / "model.safetensors").values())
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
    assert model.dtype == torch.float32 and model.config.max_position_embeddings == 32
    inputs = tokenizer("Paris is the capital of [MASK], as you know!", return_tensors="pt")
    with torch.no_grad():
        scores = model(**inputs).logits[inputs["input_ids"] == tokenizer.mask_token_id]
    assert tokenizer.decode(scores.argmax(-1)) in PLACES.values()


def test_a_model_starts_from_a_bare_encoder(corpus: Path, tmp_path: Path) -> None:
    masked, encoder, out = tmp_path / "masked", tmp_path / "encoder", tmp_path / "out"
    assert pretrain.main([str(corpus), str(masked), *SMALL, "--steps", "60", "--lr", "2e-2"]) == 0
    AutoModelForMaskedLM.from_pretrained(masked).bert.save_pretrained(encoder)
    AutoTokenizer.from_pretrained(masked).save_pretrained(encoder)
    again = [str(corpus), str(out), "--init-from", str(encoder), "--block", "32", "--steps", "30", "--threads", "1"]
    assert pretrain.main(again) == 0
    assert history(out)[-1]["heldout_loss"] < history(out)[0]["heldout_loss"]
    assert np.isfinite(history(out)[0]["heldout_loss"])


def test_a_span_model_learns_and_loads(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert pretrain.main([str(corpus), str(out), "--objective", "spans", *SMALL, "--steps", "100", "--lr", "1e-2"]) == 0
    assert history(out)[-1]["heldout_loss"] < 0.35 * history(out)[0]["heldout_loss"]
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tokenizer.tokenize("It was <extra_id_0>.")[-2].strip() == "<extra_id_0>"
    inputs = tokenizer("Rome is the capital of <extra_id_0>, as you know!", return_tensors="pt")
    start = tokenizer("<extra_id_0> italy", add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert math.isfinite(model(**inputs, labels=start).loss)


def fresh_spans(corpus: Path, *options: str) -> tuple[Any, Any]:
    """A T5 at its start, and its tokenizer."""
    args = pretrain.parse([str(corpus), "unused", "--objective", "spans", *SMALL, "--heads", "4", *options])
    lines = read_corpus(args.corpus, args.repeat)
    tokenizer = train_tokenizer([line for texts in lines.values() for line in texts], args)
    model = new_model(tokenizer, args)
    start_spans(model, tokenizer, args)
    return model.eval(), tokenizer


def test_heads_look_left_right_around_and_anywhere() -> None:
    # Four buckets a side: at and before the token 0, 1, 2, 3; after it (none), 1, 2, 3.
    left, right, around, anywhere = looks(8, 4, both_ways=True).T.tolist()
    assert left == [-2, -1, -2, -3, -6, -6, -6, -6]
    assert right == [-6, -6, -6, -6, 0, -1, -2, -3]
    assert around == [0, -0.5, -1, -1.5, 0, -0.5, -1, -1.5]
    assert anywhere == [0] * 8
    back = [-2, -1, -2, -3]
    assert looks(4, 5, both_ways=False).T.tolist() == [back, back, [0, -0.5, -1, -1.5], [0] * 4, back]


def test_a_new_span_model_looks_at_what_it_has_to_fill_and_passes_on_what_it_sees(corpus: Path) -> None:
    torch.manual_seed(0)
    model, tokenizer = fresh_spans(corpus, "--hidden", "64")
    model.set_attn_implementation("eager")
    text = "The <extra_id_0> cat sleeps <extra_id_1> the sofa. Rome is the <extra_id_2> of Italy."
    sentinels = tokenizer.convert_tokens_to_ids(["<extra_id_0>", "<extra_id_1>", "<extra_id_2>"])
    read, write = tokenizer(text, return_tensors="pt")["input_ids"], torch.tensor([sentinels])
    state = torch.randn(64)
    words = torch.where(torch.arange(64) < 56, state, 0.0)
    with torch.no_grad():
        attention = model(input_ids=read, decoder_input_ids=write, output_attentions=True).cross_attentions[0]
        cross, own = model.decoder.block[0].layer[1].EncDecAttention, model.encoder.block[0].layer[0].SelfAttention
        torch.testing.assert_close(cross.o(cross.v(state)), 0.5 * words)
        torch.testing.assert_close(own.o(own.v(state)), 0.25 * words)
    places = [read[0].tolist().index(sentinel) for sentinel in sentinels]
    assert attention[0].mean(0).argmax(-1).tolist() == places  # [heads, written, read]


def test_words_begin_as_near_each_other_as_in_a_bert(corpus: Path, tmp_path: Path) -> None:
    bert = tmp_path / "bert"
    assert pretrain.main([str(corpus), str(bert), *SMALL, "--steps", "20", "--lr", "2e-2"]) == 0
    model, tokenizer = fresh_spans(corpus, "--embeddings", str(bert), "--hidden", "36")
    words = AutoTokenizer.from_pretrained(bert)
    table = AutoModelForMaskedLM.from_pretrained(bert).get_input_embeddings().weight.detach()
    given = torch.stack([table[words.convert_tokens_to_ids(word)] for word in ("cat", "dog", "rome", "tokyo")])
    ids = tokenizer.convert_tokens_to_ids(["▁cat", "▁dog", "▁rome", "▁tokyo"])
    assert words.unk_token_id not in words.convert_tokens_to_ids(["cat", "dog", "rome", "tokyo"])
    assert tokenizer.unk_token_id not in ids
    # All 32 dimensions are kept (4 are for badges), so distances agree but for one factor.
    factors = torch.pdist(model.shared.weight[ids].detach()) / torch.pdist(given)
    torch.testing.assert_close(factors, factors.mean().expand(6), rtol=1e-4, atol=0)
    assert like_words(bert, tokenizer, 16).shape == (len(tokenizer), 16)


def test_both_segments_are_seen(corpus: Path) -> None:
    make, schedule = batches(corpus, "--pair-share", "0.5")
    pairs = rows = 0
    for batch in (schedule[step] for step in range(10)):
        ids, segments = batch["input_ids"], batch["token_type_ids"]
        real = batch["attention_mask"].bool()
        separators = (ids == make.tokenizer.sep_token_id).sum(1)
        assert (ids[:, 0] == make.tokenizer.cls_token_id).all()
        assert torch.equal(separators == 2, segments.any(1))
        assert (segments[~real] == 0).all() and ids.shape[1] <= 32
        pairs, rows = pairs + int(segments.any(1).sum()), rows + len(ids)
    assert 0.4 < pairs / rows < 0.6
    assert not batches(corpus, "--pair-share", "0")[1][0]["token_type_ids"].any()


def test_the_asked_for_share_is_masked(corpus: Path) -> None:
    make, schedule = batches(corpus, "--mask-rate", "0.3", "--mask-split", "80/10/10")
    masked = hidden = words = 0
    for batch in (schedule[step] for step in range(120)):
        shown = batch["input_ids"].flatten()[batch["chosen"]]
        assert not torch.isin(batch["targets"], torch.tensor(make.tokenizer.all_special_ids)).any()
        masked, hidden = masked + int((shown == make.tokenizer.mask_token_id).sum()), hidden + len(shown)
        words += (
            int(batch["attention_mask"].sum()) - 2 * len(batch["input_ids"]) - int(batch["token_type_ids"].any(1).sum())
        )
    assert abs(hidden / words - 0.3) < 0.01
    assert abs(masked / hidden - 0.8) < 0.02


def test_a_window_has_a_fixed_length_and_its_middle_is_to_be_told(corpus: Path) -> None:
    make, schedule = batches(
        corpus, "--mask", "window", "--window", "7", "--mask-split", "100/0/0", "--short-share", "0"
    )
    text = make.corpus.ids.tolist()
    runs = {tuple(text[i : i + 7]) for i in range(len(text) - 6)}
    told = []
    for batch in (schedule[step] for step in range(20)):
        ids = batch["input_ids"].clone()
        assert (ids == make.tokenizer.mask_token_id).sum(1).tolist() == [1] * len(ids)
        ids.flatten()[batch["chosen"]] = batch["targets"]
        assert torch.equal(batch["chosen"] % ids.shape[1], torch.full((len(ids),), 4))
        assert all(tuple(row[1:8]) in runs and row[8] == make.tokenizer.sep_token_id for row in ids.tolist())
        told += batch["targets"].tolist()
    assert len(set(told)) > 30  # any token of the text


@pytest.mark.parametrize("mask", ["words", "ngrams"])
def test_a_word_is_masked_with_all_its_pieces(corpus: Path, mask: str) -> None:
    make, schedule = batches(corpus, "--mask", mask, "--mask-split", "100/0/0")
    make.inside = np.arange(len(make.tokenizer)) % 3 == 0  # every word here is one piece; let these stand inside one
    make.inside[make.tokenizer.all_special_ids] = False
    masked = pieces = 0
    for batch in (schedule[step] for step in range(20)):
        ids = batch["input_ids"].flatten().clone()
        hidden = torch.zeros(len(ids), dtype=torch.bool)
        hidden[batch["chosen"]], ids[batch["chosen"]] = True, batch["targets"]
        inside = torch.from_numpy(make.inside)[ids]
        inside[1:] &= ids[:-1] != make.tokenizer.cls_token_id  # a block may begin within a word
        assert torch.equal(hidden[1:][inside[1:]], hidden[:-1][inside[1:]])
        masked, pieces = masked + int(hidden.sum()), pieces + int(inside.sum())
    assert masked > 500 and pieces > 500


def test_ngrams_hide_words_side_by_side_and_no_more_than_asked_for(corpus: Path) -> None:
    share, beside = {}, {}
    for mask in ("words", "ngrams"):
        make, schedule = batches(corpus, "--mask", mask, "--mask-rate", "0.2")  # every word here is one piece
        hidden, words = [], []
        for batch in (schedule[step] for step in range(30)):
            told = torch.zeros(batch["input_ids"].numel(), dtype=torch.bool)
            told[batch["chosen"]] = True
            hidden.append(told.view_as(batch["input_ids"]))
            words.append(~torch.isin(batch["input_ids"], torch.tensor([0, make.tokenizer.pad_token_id])))
        told, pairs = torch.cat([one.flatten() for one in hidden]), [one[:, :-1] & one[:, 1:] for one in hidden]
        share[mask] = (told.sum() / torch.cat([one.flatten() for one in words]).sum()).item()
        beside[mask] = (sum(one.sum() for one in pairs) / told.sum()).item()
    assert share["ngrams"] == pytest.approx(share["words"], abs=0.03)
    assert (
        beside["words"] < 0.3 < 0.4 < beside["ngrams"]
    )  # two of 11 are three words, three of 11 two: 7 / 18 and chance


def test_favoured_words_are_told_four_times_as_readily(corpus: Path) -> None:
    shares = {}
    for options in ((), ("--favour", "dog,cat")):
        make, schedule = batches(corpus, *options)
        ids = make.tokenizer.convert_tokens_to_ids(["dog", "cat"])
        told = np.concatenate([schedule[step]["targets"].numpy() for step in range(60)])
        shares[options] = np.isin(told, ids).sum() / np.isin(told, ids, invert=True).sum()
    assert 3 < shares["--favour", "dog,cat"] / shares[()] < 5


def test_lines_that_share_a_sentence_with_a_test_file_are_left_out(tmp_path: Path, corpus: Path) -> None:
    rows = [
        {"text": "It 's a small, quiet film . Nobody slept !", "label": 1},
        {"pair": ["The lake froze over twice."]},
    ]
    file = tmp_path / "test.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    lines = ["They said: it's a SMALL quiet film, all of it.", "Nobody slept!", "Twice the lake froze over.",
             'freeze: to become ice; "the lake froze over twice"', "A small, quiet film."]  # fmt: skip
    kept, left_out = leave_out({"some": lines, "other": ["No lake here, ever."]}, [file])
    assert kept == {"some": [lines[1], lines[2], lines[4]], "other": ["No lake here, ever."]}
    assert left_out == {"some": 2}
    out = tmp_path / "out"
    (tmp_path / "paris.txt").write_text("Paris is the capital of France, as you know!")
    options = [*SMALL, "--steps", "1", "--avoid", str(tmp_path / "paris.txt")]
    assert pretrain.main([str(corpus), str(out), *options]) == 0
    gone = json.loads((out / "pretrain.json").read_text())["left_out"]
    assert sorted(gone) == ["packed", "plain", "zipped"] and 50 < gone["plain"] < 110  # a fifth of 400
    with pytest.raises(UserError, match="every line"):
        leave_out({"some": lines[:1]}, [file])


def test_chinese_sentences_are_found_without_spaces(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("湖面两次结冰了，没有人知道。非常好看！", encoding="utf-8")
    lines = ["他说：湖面两次结冰了，没有人知道。后来天晴了。", "非常好看！我们回家了。", "湖面没有结冰。"]
    assert leave_out({"some": lines}, [tmp_path / "test.txt"]) == ({"some": lines[1:]}, {"some": 1})


def test_a_document_that_shares_a_sentence_goes_whole(tmp_path: Path) -> None:
    """Without the line in its middle its neighbours would be told as one sentence and the next."""
    (tmp_path / "test.txt").write_text("The lake froze over twice.")
    lines = ["It was a cold year.", "The lake froze over twice.", "We went home.", "", "The sun shone.", "We swam."]
    assert leave_out({"some": lines}, [tmp_path / "test.txt"]) == ({"some": lines[3:]}, {"some": 3})


def test_spans_put_back_give_the_text(corpus: Path) -> None:
    make, _ = batches(corpus, "--objective", "spans")
    rng = np.random.default_rng(0)
    for length in range(2, 60):
        text = np.arange(1000, 1000 + length)
        read, write = (list(part[:-1]) for part in make.corrupt(text, rng))
        spans: dict[int, list[int]] = {}
        for token in write:
            if token < 1000:
                spans[token] = spans.get(token, [])
                sentinel = token
            else:
                spans[sentinel].append(token)
        restored = [part for token in read for part in spans.get(token, [token])]
        assert restored == list(text)
        assert sum(map(len, spans.values())) == max(1, round(0.15 * length))


def test_every_token_but_a_short_rest_is_in_one_block() -> None:
    lengths = np.random.default_rng(0).integers(0, 90, 300).tolist()
    blocks = list(cut_blocks(lengths, 29, 0.1, np.random.default_rng(0)))
    assert blocks[0][0] == 0 and sum(lengths) - blocks[-1][1] < 8
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(blocks))
    assert all(4 <= stop - start <= 29 for start, stop in blocks)


def test_repeat_weighs_the_files_and_holds_the_same_blocks_out(corpus: Path) -> None:
    make, schedule = batches(corpus, "--repeat", "plain=0,packed=2.5")
    assert set(np.unique(make.corpus.source)) == {0, 1}  # packed and zipped
    rows, heldout = make.corpus.split()
    order = schedule.order(0)
    packed, zipped = (int((make.corpus.source[rows] == number).sum()) for number in (0, 1))
    assert len(order) == 2 * packed + round(packed / 2) + zipped
    assert not np.isin(order, heldout).any() and set(order) == set(rows)


@pytest.mark.parametrize("objective", ["mlm", "spans"])
def test_a_resumed_run_ends_in_the_same_weights(
    objective: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*SMALL, "--objective", objective, "--steps", "14", "--save-every", "5", "--dropout", "0.1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert pretrain.main([str(corpus), str(whole), *options]) == 0
    save = loop.save_checkpoint

    def save_and_stop(*given: Any) -> None:
        save(*given)
        if given[-1]["position"]["step"] == 10:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        assert pretrain.main([str(corpus), str(broken), *options]) == 130
    assert [path.name for path in broken.iterdir()] == ["checkpoint-10"]
    torch.manual_seed(99)
    assert pretrain.main([str(corpus), str(broken), *options, "--resume"]) == 0
    one, two = load_file(whole / "model.safetensors"), load_file(broken / "model.safetensors")
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert [line["step"] for line in history(broken)] == [0, 14]


WSD = ["--schedule", "wsd", "--warmup-steps", "3", "--dropout", "0.1", "--save-every", "5"]


@pytest.fixture(scope="module")
def endless(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run at a constant rate without an end, stopped after the checkpoints of 5 and 10 steps."""
    out, save = tmp_path_factory.mktemp("endless") / "run", loop.save_checkpoint

    def save_and_stop(*given: Any) -> None:
        save(*given)
        if given[-1]["position"]["step"] == 10:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        assert pretrain.main([str(corpus), str(out), *SMALL, *WSD, "--keep", "2"]) == 130
    return out


def test_a_decay_from_a_checkpoint_is_the_end_of_a_run_planned_so(corpus: Path, endless: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in endless.iterdir()) == ["checkpoint-10", "checkpoint-5"]
    planned, branch = tmp_path / "planned", tmp_path / "branch"
    decay = ["--decay-steps", "4"]
    assert pretrain.main([str(corpus), str(planned), *SMALL, *WSD, *decay, "--steps", "9"]) == 0
    torch.manual_seed(99)
    start = ["--decay-from", str(endless / "checkpoint-5")]
    assert pretrain.main([str(corpus), str(branch), *SMALL, *WSD, *decay, *start]) == 0
    one, two = load_file(planned / "model.safetensors"), load_file(branch / "model.safetensors")
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert json.loads((branch / "pretrain.json").read_text())["step"] == 9


def test_a_run_past_its_constant_rate_goes_on_as_planned_or_not_at_all(
    corpus: Path, endless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go_on = [str(corpus), str(endless), *SMALL, *WSD, "--resume"]
    for options, reason in {
        ("--steps", "12", "--decay-steps", "4"): "steps was None before the checkpoint and is 12 now",
        ("--steps", "20", "--decay-steps", "4", "--lr", "1"): "lr was 0.001 before the checkpoint and is 1.0 now",
    }.items():
        assert pretrain.main([*go_on, *options]) == 2
        assert reason in capsys.readouterr().err


def test_a_constant_rate_rises_stays_and_falls() -> None:
    wsd = ["corpus", "out", "--schedule", "wsd", "--warmup-steps", "1", "--lr", "1"]
    args = pretrain.parse([*wsd, "--steps", "8", "--decay-steps", "4"])
    assert [loop.constant_rate(step, args) for step in range(8)] == [0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert loop.constant_rate(10**9, pretrain.parse(wsd)) == 1


def test_mistakes_end_in_one_line(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, used, empty = tmp_path / "out", tmp_path / "used", tmp_path / "empty"
    empty.mkdir()
    (used / "checkpoint-3").mkdir(parents=True)
    (used / "checkpoint-mine").mkdir()  # none of a run
    model = Path(pretrain.__file__).parents[1] / "pet_cli" / "embedded" / "model"
    shutil.copytree(model, tmp_path / "cut", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "cut" / "model.safetensors").write_bytes(b"version https://git-lfs")
    (tmp_path / "state.pt").write_bytes(b"garbage")
    with pytest.raises(UserError, match=r"state\.pt is damaged"):
        loop.read_state(tmp_path)
    for command, reason in {
        f"{tmp_path / 'nowhere'} {out}": "is not a folder",
        f"{empty} {out}": "no text in",
        f"{corpus} {out} --repeat plane=2": "no file 'plane'",
        f"{corpus} {out} --repeat plain": "invalid repeat value",
        f"{corpus} {out} --mask-rate 2": "invalid float from 0.01 to 0.9 value",
        f"{corpus} {out} --mask-split 80/20": "invalid split value",
        f"{corpus} {out} --heads 5": "cannot be split into --heads 5",
        f"{corpus} {out} --init-from {empty}": "not a model folder",
        f"{corpus} {out} --init-from {tmp_path / 'cut'}": "cannot load",
        f"{corpus} {out} --objective spans --embeddings {tmp_path / 'cut'}": "cannot load",
        f"{corpus} {out} --init-from {empty} --layers 2": "cannot be given with --init-from",
        f"{corpus} {out} --init-from {empty} --objective spans --embeddings x": "--embeddings cannot be given",
        f"{corpus} {out} --embeddings {empty}": "is for --objective spans",
        f"{corpus} {out} --objective spans --embeddings {empty}": "it has no config.json",
        f"{corpus} {out} --schedule wsd --minutes 5": "--minutes does not go with --schedule wsd",
        f"{corpus} {out} --decay-steps 5": "--decay-steps does not go with --schedule linear",
        f"{corpus} {out} --schedule wsd --decay-from {empty} --steps 5": "leave --steps and --init-from out",
        f"{corpus} {out} --schedule wsd --decay-from {empty}": "not a model folder",
        f"{corpus} {out} --mask window --window 6": "has no middle",
        f"{corpus} {out} --window 7": "does nothing without --mask window",
        f"{corpus} {out} --mask words --objective spans": "--mask words does not go with --objective spans",
        f"{corpus} {out} --mask window --objective spans": "--mask window does not go with",
        f"{corpus} {out} --favour dog,nowhere": "'nowhere' is not one token",
        f"{corpus} {out} --avoid {empty / 'no.txt'}": "cannot read",
        f"{corpus} {used}": "go on from it with --resume",
    }.items():
        assert pretrain.main(command.split()) == 2
        message = capsys.readouterr().err
        assert reason in message and message.count("\n") == 1


def test_a_run_by_the_clock_ends_with_a_low_learning_rate() -> None:
    args = pretrain.parse(["corpus", "out", "--minutes", "5", "--warmup", "0.1", "--lr", "1"])
    rates = [loop.learning_rate(done, args) for done in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])


def test_a_model_is_measured_with_the_settings_of_the_embedded_one(tmp_path: Path) -> None:
    own = [text for text in measure_model.overrides(tmp_path / "mine", "sst2", tmp_path) if "," not in text]
    mine, default = compose(own).model, compose([]).model
    assert mine.name == str(tmp_path / "mine") and mine.learning_rate == default.learning_rate is not None


def test_texts_that_are_not_there_to_choose_by_are_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"measure_model: No file .*sst2/train\.jsonl"):
        measure_model.main([str(tmp_path), "model", "--choose", "--tasks", "sst2"])
