"""`scripts/pretrain.py --objective mlm+nsp`: pairs told by their texts alone, and heads that transformers reads."""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import pretrain
from pretraining.comparing import start_comparing
from pretraining.loop import losses_and_scores, scores
from pretraining.models import load_model, new_model
from pretraining.pairs import (
    PairBatches,
    PairCorpus,
    blocks_of,
    documents,
    encode_pairs,
    even_out,
    join,
    recalls,
    sentences,
    told,
    whole_pairs,
)
from pretraining.text import read_corpus, train_tokenizer

SMALL = ["--layers", "1", "--hidden", "32", "--heads", "2", "--vocab-size", "300", "--block", "32", "--batch", "16",
         "--threads", "1", "--objective", "mlm+nsp"]  # fmt: skip
TOPICS = {
    "sea": ["boat", "wave", "sailor", "harbour", "anchor", "storm"],
    "kitchen": ["oven", "spoon", "flour", "butter", "cook", "plate"],
    "garden": ["rose", "spade", "bee", "hedge", "apple", "worm"],
    "music": ["violin", "drum", "song", "choir", "flute", "dance"],
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The runs set the number of threads; the tests after them get theirs back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of lines of six sentences; each line has its topic, and a sentence names the word of the one before."""
    folder, rng = tmp_path_factory.mktemp("pairs"), random.Random(0)
    for name, topics in (("one", ["sea", "kitchen"]), ("two", ["garden", "music"])):
        lines = []
        for _ in range(60):
            words = rng.sample(TOPICS[rng.choice(topics)], 6)
            told = itertools.pairwise([words[-1], *words])
            lines.append(" ".join(f"After the {old} there came the {new} at last." for old, new in told))
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def batches(corpus: Path, *options: str) -> PairBatches:
    args = pretrain.parse([str(corpus), "unused", *SMALL, *options])
    lines = read_corpus(args.corpus, args.repeat, blank=True)
    tokenizer = train_tokenizer([line for texts in lines.values() for line in texts], args)
    return PairBatches(read(corpus, tokenizer, args), tokenizer, args)


def read(corpus: Path, tokenizer: Any, args: Any) -> PairCorpus:
    lines = read_corpus(corpus, {}, blank=True)
    return encode_pairs(lines, [1.0] * len(lines), tokenizer, args)


def test_sentences_end_at_their_punctuation_and_documents_at_blank_lines_or_with_their_line() -> None:
    assert sentences('Dr. Who met J. Doe. "Why?" he said... No!  ') == [
        "Dr. Who met J. Doe.",
        '"Why?"',
        "he said...",
        "No!",
    ]
    assert sentences("天气很好。我们走吧！") == ["天气很好。", "我们走吧！"]
    assert documents(["One. Two.", "A single one.", "Three! Four?"]) == [["One.", "Two."], ["Three!", "Four?"]]
    assert documents(["One.", "Two.", "", "A single one.", "", "", "Three. Four."]) == [
        ["One.", "Two."],
        ["Three.", "Four."],
    ]


def test_pieces_are_whole_sentences_of_at_least_some_tokens() -> None:
    assert join([3, 3, 5, 2, 9, 1], 4, 8) == [6, 11, 13, 22]  # the 2 is not joined with the 9; the 1 is left over


def by_hand(relations: int) -> Any:
    """Four documents of six pieces, all different, of four tokens each but the last, which has twelve."""
    lengths = np.tile([4, 4, 4, 4, 4, 12], 4)
    ends = np.cumsum(lengths)
    pieces, document = np.stack([ends - lengths, ends], 1), np.repeat(np.arange(4), 6)
    args: Any = SimpleNamespace(block=32, relations=relations, corpus="corpus")
    return blocks_of(np.arange(ends[-1]), pieces, document, np.zeros(4, dtype=int), [1.0], args)


def test_the_pairs_of_six_sentences_by_hand() -> None:
    corpus = by_hand(3)
    assert corpus.held.tolist() == [False, True, True, False]
    # The fifth's next is the long last one, and no other of its document is as long.
    assert corpus.first.tolist() == [first + 6 * document for document in range(4) for first in range(4)]
    assert [[corpus.candidates(block, relation).tolist() for relation in range(3)] for block in range(4)] == [
        [[1], [19, 20, 21, 22], [2, 3, 4]],  # of another document that is not held out either, as this one; no first
        [[2], [19, 20, 21, 22], [3, 4]],
        [[3], [19, 20, 21, 22], [4]],
        [[4], [19, 20, 21, 22], [1]],
    ]
    rows, heldout = corpus.split()
    assert rows.tolist() == [0, 1, 2, 3, 12, 13, 14, 15] and heldout.tolist() == list(range(4, 12))
    assert 4 in by_hand(2).first  # whose next one has a long one of another document beside it


def test_a_second_piece_never_reads_as_the_next_one_does() -> None:
    corpus = by_hand(3)
    corpus.wording[20] = corpus.wording[2] = corpus.wording[1]  # thrice the same sentence
    assert [corpus.candidates(0, relation).tolist() for relation in range(3)] == [[1], [19, 21, 22], [3, 4]]


def test_lengths_and_sources_do_not_tell_the_relation(corpus: Path) -> None:
    make, rng = batches(corpus, "--relations", "3"), np.random.default_rng(0)
    rows, heldout = make.corpus.split()
    assert not set(make.corpus.document[make.corpus.first[rows]]) & set(
        make.corpus.document[make.corpus.first[heldout]]
    )
    for block in rng.choice(np.concatenate([rows, heldout]), 60):
        file, held = make.corpus.source[block], make.corpus.held[make.corpus.document[make.corpus.first[block]]]
        seconds = [make.corpus.candidates(block, relation) for relation in range(3)]
        documents_of = [set(make.corpus.document[own]) for own in seconds]
        assert documents_of[0] == documents_of[2] and not documents_of[0] & documents_of[1]
        every = np.concatenate(seconds)
        assert {bool(held)} == set(make.corpus.held[make.corpus.document[every]])
        words = {make.tokenizer.decode(make.corpus.ids[slice(*make.corpus.pieces[one])]) for one in every}
        assert any(
            word in " ".join(words)
            for topic in (["sea", "kitchen"], ["garden", "music"])[file]
            for word in TOPICS[topic]
        )
        lengths = [len(make.pair(int(block), relation, rng)[1]) for relation in range(3)]
        assert max(lengths) < 1.31 * min(lengths)


def test_a_batch_has_each_first_piece_with_a_second_of_each_kind(corpus: Path) -> None:
    make = batches(corpus, "--relations", "3", "--mask-rate", "0.01")
    batch = make(np.arange(12), np.random.default_rng(1))
    assert batch["relation"].tolist() == [0, 1, 2] * 4
    ids, cls, sep = batch["input_ids"], make.tokenizer.cls_token_id, make.tokenizer.sep_token_id
    ids.view(-1)[batch["chosen"]] = batch["targets"]
    for number, (row, types) in enumerate(zip(ids, batch["token_type_ids"], strict=True)):
        block, relation = divmod(number, 3)
        first = make.corpus.ids[slice(*make.corpus.blocks[block])].tolist()
        assert row.tolist()[: len(first) + 2] == [cls, *first, sep]
        seconds = make.corpus.pieces[make.corpus.candidates(block, relation)]
        assert row[types == 1].tolist() in [[*make.corpus.ids[start:stop], sep] for start, stop in seconds]


def test_beside_windows_whose_middles_are_told_pairs_stay_whole(corpus: Path) -> None:
    make = batches(corpus, "--relations", "3", "--mask", "window", "--window", "5", "--mask-split", "100/0/0")
    batch = make(np.arange(12), np.random.default_rng(1))
    [plain] = whole_pairs(make, [np.arange(12)])
    assert len(plain["input_ids"]) == 12, "measured without windows"
    pairs, windows = batch["input_ids"].split(12)
    assert batch["relation"].tolist() == plain["relation"].tolist() == [0, 1, 2] * 4
    assert len(windows) == 12 and make.tokenizer.mask_token_id not in pairs
    assert (pairs[:, 0] == make.tokenizer.cls_token_id).all() and (batch["token_type_ids"][:12].sum(1) > 4).all()
    places = batch["chosen"].reshape(-1, 1)
    assert torch.equal(places // pairs.shape[1], torch.arange(12, 24).reshape(-1, 1))  # one in each window alone
    assert (windows.flatten()[batch["chosen"] - pairs.numel()] == make.tokenizer.mask_token_id).all()
    whole = windows.flatten()
    whole[batch["chosen"] - pairs.numel()] = batch["targets"]
    for number, row in enumerate(whole.reshape(windows.shape).tolist()):
        first = make.corpus.ids[slice(*make.corpus.blocks[number // 3])].tolist()
        assert row[1:6] in [first[i : i + 5] for i in range(len(first) - 4)]
    model = new_model(make.tokenizer, make.args)
    losses, (words, related) = losses_and_scores(scores, model, batch, make.args)
    assert (len(words), len(related), len(losses)) == (12, 12, 2)


def test_recalls_by_hand() -> None:
    wanted, predicted = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 0])
    assert recalls(predicted, wanted, 3) == pytest.approx(
        {"recall_entailment": 1 / 2, "recall_contradiction": 2 / 3, "recall_neutral": 0, "recall_mean": 7 / 18}
    )


@pytest.mark.parametrize("relations", [2, 3])
def test_the_trained_classes_are_those_that_transformers_reads(relations: int, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert pretrain.main([str(corpus), str(out), *SMALL, "--relations", str(relations), "--steps", "2"]) == 0
    kind = BertForNextSentencePrediction if relations == 2 else BertForSequenceClassification
    model, report = kind.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    args = pretrain.parse([str(corpus), str(out), *SMALL, "--relations", str(relations)])
    trained, tokenizer, _ = load_model(out, args)
    make = PairBatches(read(corpus, tokenizer, args), tokenizer, args)
    batch = make(np.arange(6), np.random.default_rng(0))
    with torch.no_grad():
        found = scores(trained.eval(), batch)[1]
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        torch.testing.assert_close(found, model.eval()(**inputs).logits)
    losses, logits = losses_and_scores(scores, trained, batch, args)
    wanted = -logits[1].log_softmax(-1)[range(6), batch["relation"]].mean()  # index 0 is the next one
    torch.testing.assert_close(losses[1], wanted)
    losses[1].backward()
    for part in (trained.bert.embeddings.word_embeddings, trained.bert.encoder.layer[0].attention.self.query):
        assert part.weight.grad.any()  # the whole encoder learns of it


def test_three_relations_are_a_classifier_of_their_own_names_and_a_masked_model(corpus: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "model", tmp_path / "again"
    train = [*SMALL, "--relations", "3", "--steps", "3"]
    assert pretrain.main([str(corpus), str(out), *train]) == 0
    record = json.loads((out / "pretrain.json").read_text())
    for told_of in (record["history"][-1], record):  # with words hidden, and in the end without
        assert {"recall_neutral", "recall_mean"} <= set(told_of)
    model, report = BertForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    assert model.config.id2label == {0: "entailment", 1: "contradiction", 2: "neutral"}
    _, report = AutoModelForMaskedLM.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    more = ["--init-from", str(out), "--objective", "mlm+nsp", "--block", "32", "--steps", "2", "--threads", "1"]
    assert pretrain.main([str(corpus), str(again), *more]) == 0  # two classes from three relations
    _, report = BertForNextSentencePrediction.from_pretrained(again, output_loading_info=True)
    assert not report["missing_keys"]


def test_a_corpus_without_documents_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "lines"
    lines.mkdir()
    (lines / "list.txt").write_text("One sentence a line.\nAnd another one.\n" * 50, encoding="utf-8")
    for command, reason in {
        f"{lines} {tmp_path / 'out'} --objective mlm+nsp": f"list.txt in {lines} holds no documents",
        f"{lines} {tmp_path / 'out'} --relations 3": "--relations 3 is for --objective mlm+nsp, not mlm",
    }.items():
        assert pretrain.main(command.split()) == 2
        message = capsys.readouterr().err
        assert reason in message and message.count("\n") == 1


COMPARING = [*SMALL, "--layers", "2", "--hidden", "128", "--heads", "2", "--dropout", "0.3"]


def test_a_new_model_begins_as_one_that_counts_what_both_texts_have(corpus: Path) -> None:
    make = batches(corpus, *COMPARING)
    torch.manual_seed(0)
    model = new_model(make.tokenizer, make.args)
    some = list(whole_pairs(make, np.arange(64).reshape(4, 16)))
    *_, shared, _, mean, _ = start_comparing(model, make.tokenizer, make.corpus.ids, some)
    pair = {name: some[0][name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    ids, there, text = pair.values()
    special = torch.isin(ids, torch.tensor(make.tokenizer.all_special_ids))
    both = ((ids.unsqueeze(2) == ids.unsqueeze(1)) & (text.unsqueeze(2) != text.unsqueeze(1))).any(2) & ~special
    with torch.no_grad():
        states = model.bert(**pair, output_hidden_states=True).hidden_states
    known = states[1][:, :, shared]
    word = there.bool() & ~special
    assert known[word & both].quantile(0.1) > known[word & ~both].quantile(0.9)
    share = (word & both).sum(1) / word.sum(1)
    assert torch.corrcoef(torch.stack([share, states[-1][:, 0, mean]]))[0, 1] > 0.9  # what [CLS] knows
    assert torch.corrcoef(torch.stack([share, model.bert(**pair).pooler_output[:, 0].detach()]))[0, 1] > 0.8


def test_as_many_of_each_relation_are_told_as_such(corpus: Path) -> None:
    make = batches(corpus, "--relations", "3")
    torch.manual_seed(0)
    model = new_model(make.tokenizer, make.args)
    torch.nn.init.normal_(model.classifier.weight)
    torch.nn.init.constant_(model.classifier.bias[:1], 5.0)
    some = list(whole_pairs(make, np.arange(256).reshape(16, 16)))
    even_out(model, some)
    answers, relations = told(model, some)
    found = recalls(answers.argmax(-1).numpy(), relations.numpy(), 3)
    assert list(found.values()) == pytest.approx([found["recall_mean"]] * 4, abs=0.05)
    assert found["recall_mean"] > 0.2  # not none of each


def test_what_chooses_and_what_measures_are_other_documents(corpus: Path) -> None:
    own = batches(corpus).corpus
    parts = [set(own.document[own.first[blocks]].tolist()) for blocks in (own.split()[0], *own.held_out())]
    assert all(parts)
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
