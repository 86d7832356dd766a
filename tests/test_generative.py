"""Encoder-decoder and decoder-only models: label words score as one full forward for each of them would."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from generative import CAUSAL, POSITIONS, SINGLE, T5S, TEXTS, TINY, build, unigram
from safetensors.torch import load_file, save_file
from torch import Tensor

from pet_cli.api import PromptClassifier
from pet_cli.config.build import option
from pet_cli.ensembles.views import ViewsLearner
from pet_cli.errors import UserError
from pet_cli.models.base import AnswerTokens, LanguageModel
from pet_cli.models.generative import ROOM, WordTokens, is_punctuation
from pet_cli.models.loading import load
from pet_cli.prompts.encoder import PromptEncoder
from pet_cli.prompts.query import Answers
from pet_cli.prompts.template import Template, parse_plain, plain_template
from pet_cli.training.loop import TrainSettings, train
from pet_cli.training.mlm import MaskedModelling
from pet_cli.tuning.at_mask import label_answers
from pet_cli.tuning.base import PromptLearner
from pet_cli.tuning.classifier import ClassifierLearner
from pet_cli.tuning.full import FullLearner
from pet_cli.tuning.head import HeadLearner
from pet_cli.tuning.zero_shot import ZeroShotLearner
from pet_cli.verbalizers.manual import ManualVerbalizer

pytestmark = pytest.mark.xdist_group("generative")

ROWS = [{"text": text} for text in TEXTS]
SEVERAL = ("great", "not so bad", "zebra", "good film", "quartz")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return functools.cache(lambda name: build(name, tmp_path_factory.mktemp(name) / "model"))


@pytest.fixture(scope="module")
def _loaded(folder_of: Callable[[str], Path]) -> Callable[[str], LanguageModel]:
    @functools.cache
    def loaded(name: str) -> LanguageModel:
        lm = load(str(folder_of(name)), device="cpu")
        lm.keep_pristine()
        return lm

    return loaded


@pytest.fixture(params=list(TINY))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lm(kind: str, _loaded: Callable[[str], LanguageModel]) -> LanguageModel:
    lm = _loaded(kind)
    lm.restore()
    return lm


TEMPLATE = "{text} It was {mask}."


def learner_of(
    lm: LanguageModel,
    words: Sequence[str] = SEVERAL,
    source: str = TEMPLATE,
    cls: type[PromptLearner] = FullLearner,
    **scoring: Any,
) -> PromptLearner:
    tunings: dict[type, Any] = {
        FullLearner: option("tuning", "full"),
        ZeroShotLearner: option("tuning", "zero_shot"),
        HeadLearner: option("tuning", "head"),
    }
    verbalizer = ManualVerbalizer(
        {f"label {word}": {word: 1.0} for word in words}, option("scoring", "words", **scoring)
    )
    return cls(lm, Template.parse(source, ["text"]), verbalizer.labels, tunings[cls], 96, verbalizer=verbalizer)


def encoder_of(lm: LanguageModel, source: str) -> PromptEncoder:
    return PromptEncoder(lm.tokenizer, lm.adapt(Template.parse(source, ["text"])), 96, lm.mask_token)


def said(learner: PromptLearner, rows: Sequence[dict[str, str]] = ROWS) -> Tensor:
    with torch.inference_mode():
        return learner.predict(learner.encode(rows))


# --- the obvious way -----------------------------------------------------------------------------------------------


def obvious(kind: str, lm: LanguageModel, text: str, words: Sequence[str], normalise: bool) -> Tensor:
    """Log-probabilities of words behind `TEMPLATE`, one full forward through transformers' own head for each."""
    tokenizer, scores = lm.tokenizer, []
    start = lm.model.config.decoder_start_token_id if lm.family == "encoder_decoder" else None
    for word in words:
        own = tokenizer("a " + word, add_special_tokens=False)["input_ids"][1:]
        if kind in CAUSAL:
            prompt = tokenizer(f"{text} It was")["input_ids"]
            inputs = {"input_ids": torch.tensor([prompt + own[:-1]])}
        elif kind == "bart":
            ids = tokenizer(f"{text} It was<mask>.")["input_ids"]
            prompt = [start, *ids[: ids.index(tokenizer.mask_token_id)]]
            inputs = {"input_ids": torch.tensor([ids]), "decoder_input_ids": torch.tensor([prompt + own[:-1]])}
        else:
            mask = "▁<extra_id_0>" if kind == "mt5" else "<extra_id_0>"
            before = tokenizer(f"{text} It was", add_special_tokens=False)["input_ids"]
            behind = tokenizer(".", add_special_tokens=False)["input_ids"]
            sentinel = tokenizer.get_vocab()[mask]
            ids, prompt = [*before, sentinel, *behind, tokenizer.eos_token_id], [start, sentinel]
            inputs = {"input_ids": torch.tensor([ids]), "decoder_input_ids": torch.tensor([prompt + own[:-1]])}
        with torch.inference_mode():
            logits = lm.model(**inputs).logits[0, len(prompt) - 1 :]
        found = logits.log_softmax(-1).gather(1, torch.tensor(own).unsqueeze(1))
        scores.append(found.mean() if normalise else found.sum())
    return torch.stack(scores)


@pytest.mark.parametrize("normalise", [True, False])
def test_words_of_several_tokens_score_as_a_forward_for_each(kind: str, lm: LanguageModel, normalise: bool) -> None:
    learner = learner_of(lm, length_normalise=normalise)
    lengths = [len(ids) for ids in learner.answers.ids]
    assert lengths[0] == 1 and max(lengths) > 3  # single and several tokens mixed
    expected = torch.stack([obvious(kind, lm, text, SEVERAL, normalise) for text in TEXTS])
    torch.testing.assert_close(said(learner), expected, atol=1e-5, rtol=1e-6)


def test_words_of_one_token_score_as_a_forward_for_each(kind: str, lm: LanguageModel) -> None:
    learner = learner_of(lm, SINGLE)
    assert learner.answers.longest == 1
    columns = lm.tokens(learner.answers).first
    expected = torch.stack([obvious(kind, lm, text, SINGLE, True) for text in TEXTS])
    scores = said(learner)
    torch.testing.assert_close(scores.log_softmax(1), expected.log_softmax(1), atol=1e-5, rtol=1e-6)
    with torch.inference_mode():  # the logits, restricted to the words' columns
        batch = lm.collate(learner.encode(ROWS).prompts)
        whole = lm.word_scores(lm.states(batch), None)
    assert whole.shape == (len(ROWS), 1, lm.model.get_input_embeddings().num_embeddings)
    torch.testing.assert_close(scores, whole[:, 0, columns], atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(whole.log_softmax(-1)[:, 0, columns], expected, atol=1e-5, rtol=1e-6)


def test_padding_changes_no_score(kind: str, lm: LanguageModel) -> None:
    for words in (SINGLE, SEVERAL):
        learner = learner_of(lm, words)
        together = said(learner)
        alone = torch.cat([said(learner, [row]) for row in ROWS])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-6)


def test_glued_words_have_no_leading_space(kind: str, lm: LanguageModel) -> None:
    learner = learner_of(lm, SINGLE, "{text} ({mask})")
    assert learner.answers.ids == tuple(
        tuple(lm.tokenizer("(" + word, add_special_tokens=False)["input_ids"][1:]) for word in SINGLE
    ) or (kind in T5S)
    assert learner.answers != learner_of(lm, SINGLE).answers
    assert said(learner).isfinite().all()


def test_borders_are_spaces_where_a_model_has_no_segments(kind: str, lm: LanguageModel) -> None:
    pair, plain = (learner_of(lm, SINGLE, f"{{text}} {border}It was {{mask}}.") for border in ("| ", ""))
    if kind == "bart":
        assert pair.encode(ROWS[:1]).prompts[0].ids.count(lm.tokenizer.eos_token_id) == 3
    else:
        torch.testing.assert_close(said(pair), said(plain), atol=1e-6, rtol=0)


# --- what runs how often -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [SINGLE, SEVERAL])
def test_the_prompt_runs_once_for_all_words(kind: str, lm: LanguageModel, words: Sequence[str]) -> None:
    learner = learner_of(lm, words)
    body = lm.model.get_encoder() if lm.family == "encoder_decoder" else lm.model.base_model
    seen: list[int] = []
    hook = body.register_forward_hook(lambda module, inputs, output: seen.append(output[0].shape[0:2].numel()))
    try:
        said(learner)
    finally:
        hook.remove()
    prompt = int(lm.collate(learner.encode(ROWS).prompts).input_ids.numel())
    further = sum(len(ids) - 1 for ids in learner.answers.ids) if kind in CAUSAL else 0
    assert seen == [prompt + len(ROWS) * further]


def test_one_token_words_project_their_columns_alone(
    kind: str, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm.model.get_output_embeddings(), "forward", None)
    asked: list[Any] = []
    project = type(lm).project

    def spy(self: LanguageModel, features: Tensor, words: Tensor | None) -> Tensor:
        asked.append((tuple(features.shape[:-1]), None if words is None else len(words)))
        return project(self, features, words)

    monkeypatch.setattr(type(lm), "project", spy)
    said(learner_of(lm, SINGLE))
    assert asked == [((len(ROWS),), len(SINGLE))]


# --- training ------------------------------------------------------------------------------------------------------

_LABELS = torch.tensor([0, 1, 1, 0])


def _train(lm: LanguageModel, learner: Any, steps: int = 12) -> list[float]:
    return train(learner, learner.encode(ROWS), _LABELS, TrainSettings(steps, 3e-3, batch_size=4)).losses


@pytest.mark.parametrize("words", [("great", "bad"), ("great", "not so bad")])
def test_full_tuning_lowers_the_loss(kind: str, lm: LanguageModel, words: Sequence[str]) -> None:
    learner = learner_of(lm, words)
    learner.settings.dropout = False  # which would blur the losses of twelve steps
    before = said(learner)
    losses = _train(lm, learner)
    assert losses[-1] < 0.9 * losses[0]
    assert not torch.allclose(said(learner), before)
    lm.restore()
    torch.testing.assert_close(said(learner), before)


def test_gradients_of_the_shared_pass_are_those_of_separate_ones(kind: str, lm: LanguageModel) -> None:
    """Scoring several words at once and one after the other pull the weights equally."""
    ids = learner_of(lm).answers.ids
    prompts = learner_of(lm).encode(ROWS[:2]).prompts
    found = []
    groups: list[list[tuple[int, ...]]]
    for groups in ([list(ids)], [[own] for own in ids if len(own) > 1] + [[ids[0], ids[1]]]):
        lm.model.zero_grad()
        total = torch.zeros(())
        for group in groups:
            scores = lm.score_answers(lm.collate(prompts), Answers(tuple(group)))
            keep = [i for i, own in enumerate(group) if len(own) > 1 or len(groups) == 1 or len(group) == 2]
            if len(group) == 2:
                keep = [0]
            total = total + scores[:, keep].sum()
        total.backward()
        found.append([p.grad.clone() for p in lm.model.parameters() if p.grad is not None])
    lm.model.zero_grad()
    for together, apart in zip(*found, strict=True):
        torch.testing.assert_close(together, apart, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_classifier_reads_the_input_whatever_the_padding(kind: str, lm: LanguageModel, pooling: str) -> None:
    template = parse_plain(plain_template(["text"]))
    learner = ClassifierLearner(
        lm, template, ["a", "b"], option("tuning", "classifier", pooling=pooling, dropout=False), 96
    )
    lm.model.eval()
    together = learner.predict(learner.encode(ROWS))
    alone = torch.cat([learner.predict(learner.encode([row])) for row in ROWS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-6)
    changed = learner.predict(learner.encode([{"text": TEXTS[0] + " not"}]))
    assert not torch.allclose(changed, alone[:1], atol=1e-6)
    losses = _train(lm, learner, 20)
    assert losses[-1] < losses[0]


def test_views_of_a_shared_model_score_as_each_view_alone(kind: str, lm: LanguageModel) -> None:
    views = [learner_of(lm, SEVERAL), learner_of(lm, SEVERAL, "{text} So {mask}")]
    shared = ViewsLearner(views)
    encoded = shared.encode(ROWS * 2)
    indices = [0, len(ROWS) + 1, 2, len(ROWS)]
    with torch.inference_mode():
        scores = shared.label_scores(encoded, indices)
        expected = [views[i // len(ROWS)].label_scores(encoded, [i]) for i in indices]
    torch.testing.assert_close(scores, torch.cat(expected), atol=1e-5, rtol=1e-6)


# --- soft prompts' way in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [SINGLE, SEVERAL])
def test_embeddings_score_as_the_ids_they_stand_for(kind: str, lm: LanguageModel, words: Sequence[str]) -> None:
    learner = learner_of(lm, words)
    batch = lm.collate(learner.encode(ROWS).prompts)
    with torch.inference_mode():
        embeds = lm.model.get_input_embeddings()(batch.input_ids)
        torch.testing.assert_close(
            lm.score_answers(batch, learner.answers, embeds),
            lm.score_answers(batch, learner.answers),
            atol=1e-5,
            rtol=0,
        )
        torch.testing.assert_close(lm.encode(batch, embeds), lm.encode(batch), atol=1e-5, rtol=1e-6)


def test_trainable_tokens_that_start_as_words_score_as_the_words(kind: str, lm: LanguageModel) -> None:
    """The hard template's own words as trainable vectors give its scores; so no space is lost or added."""
    hard = learner_of(lm, SEVERAL, "{text} It was {mask}")
    soft = encoder_of(lm, '{text} {soft:"It was"} {mask}')
    batch = lm.collate(soft.encode(ROWS))
    assert batch.soft is not None and batch.soft.max() + 1 == soft.slots == len(soft.slot_texts)
    ids = batch.input_ids.clone()
    for slot, token in soft.slot_texts.items():
        ids[batch.soft == slot] = token
    with torch.inference_mode():
        scores = lm.score_answers(batch, hard.answers, lm.model.get_input_embeddings()(ids))
    torch.testing.assert_close(scores, said(hard), atol=1e-5, rtol=1e-6)


def test_soft_slots_move_with_the_padding(kind: str, lm: LanguageModel) -> None:
    batch = lm.collate(encoder_of(lm, "{soft*2} {text} It was {soft} {mask}.").encode(ROWS))
    assert batch.soft is not None
    assert [sorted(row[row >= 0].tolist()) for row in batch.soft] == [[0, 1, 2]] * len(ROWS)
    assert bool((batch.attention_mask[batch.soft >= 0] == 1).all())
    if kind in CAUSAL:
        assert (batch.soft[:, -1] == 2).all() and (batch.masks == batch.input_ids.shape[1] - 1).all()
    gradient = lm.model.get_input_embeddings()(batch.input_ids).detach().requires_grad_(True)
    lm.score_answers(batch, learner_of(lm, SINGLE).answers, gradient)[:, 0].sum().backward()
    assert gradient.grad is not None and bool((gradient.grad[batch.soft >= 0].abs().sum(-1) > 0).all())


# --- templates and lengths -----------------------------------------------------------------------------------------


def test_a_mask_in_the_middle_asks_for_the_end(kind: str, lm: LanguageModel) -> None:
    for source in ("{mask}: {text}", "{text} It was {mask} indeed", "{text} {mask} {soft*2}", "{mask} | {text}"):
        if "soft" in source and kind not in CAUSAL:
            assert encoder_of(lm, source).encode(ROWS)[0].soft
            continue
        if kind in CAUSAL:
            with pytest.raises(UserError, match=r"decoder-only.*Move \{mask\} to the end") as caught:
                encoder_of(lm, source)
            assert source in str(caught.value)
        else:
            assert said(learner_of(lm, source=source)).isfinite().all()


def test_punctuation_behind_the_mask_is_left_out(kind: str, lm: LanguageModel) -> None:
    if kind in CAUSAL:
        sources = (
            '{text} It was "{mask}".',
            '{text} It was "{mask}"',
            '{text} It was "{mask}" !。',
            '{text} It was "{mask}',
        )
        scores = [said(learner_of(lm, source=source)) for source in sources]
        assert all(torch.equal(scores[0], other) for other in scores[1:])
    assert is_punctuation(' ."!?。 ') and not is_punctuation(". a")


def test_an_empty_text_has_a_score(kind: str, lm: LanguageModel) -> None:
    for source in ("{text} {mask}", "{text}{mask}", "{mask}"):
        assert said(learner_of(lm, source=source), [{"text": ""}, *ROWS]).isfinite().all()


def test_long_texts_are_shortened_not_the_words_around_the_mask(kind: str, lm: LanguageModel) -> None:
    learner = learner_of(lm, source="{text} It was {mask}.")
    prompt = learner.encode([{"text": "a long story " * 80}]).prompts[0]
    assert len(prompt.ids) == 96 and prompt.cut > 0 and len(prompt.masks) == 1
    assert said(learner, [{"text": "a long story " * 80}]).isfinite().all()


def test_a_text_cannot_smuggle_a_mask_in(kind: str, lm: LanguageModel) -> None:
    text = f"a {lm.mask_token} b {lm.mask_token}"
    prompt = learner_of(lm).encode([{"text": text}]).prompts[0]
    assert len(prompt.masks) == 1
    batch = lm.collate([prompt])
    assert (batch.input_ids == lm.tokenizer.get_vocab()[lm.mask_token]).sum() == (0 if kind in CAUSAL else 1)


def test_room_is_left_for_the_words(kind: str, lm: LanguageModel) -> None:
    if kind in T5S:
        assert lm.positions > 10**6
        return
    assert lm.positions == POSITIONS - ROOM
    learner = learner_of(lm)
    learner.max_length = learner.encoder.max_length = lm.positions
    assert said(learner, [{"text": "a long story " * 80}]).isfinite().all()


def test_bart_says_when_its_positions_run_out(_loaded: Callable[[str], LanguageModel]) -> None:
    lm = _loaded("bart")
    words = [f"{letter}qzxjkvwq" * 3 for letter in "abcdefgh"]
    with pytest.raises(UserError, match=r"label words take \d+ further tokens"):
        said(learner_of(lm, words, source="{text} It was {mask}."), [{"text": "a long story " * 80}])


def test_a_word_longer_than_the_room_for_it_is_refused(_loaded: Callable[[str], LanguageModel]) -> None:
    for kind in ("gpt2", "t5"):
        with pytest.raises(UserError, match=rf"is \d+ tokens for this model, and {ROOM} are the most"):
            learner_of(_loaded(kind), ["good", "qzxjkvwq" * 9])


def test_a_tokenizer_without_padding_pads_with_the_end_of_text(_loaded: Callable[[str], LanguageModel]) -> None:
    lm = _loaded("gpt2")
    assert lm.tokenizer.pad_token_id is None
    batch = lm.collate(learner_of(lm).encode(ROWS).prompts)
    assert batch.attention_mask[:, -1].all() and not batch.attention_mask[:, 0].all()
    assert (batch.input_ids[batch.attention_mask == 0] == lm.tokenizer.eos_token_id).all()


# --- families, files, precision ------------------------------------------------------------------------------------


def test_families_name_themselves(kind: str, lm: LanguageModel) -> None:
    assert lm.family == ("decoder_only" if kind in CAUSAL else "encoder_decoder")
    assert not lm.single_token_words and lm.width == 32
    assert load("random", device="cpu").family == "masked"


def test_a_saved_model_scores_as_before(kind: str, lm: LanguageModel, tmp_path: Path) -> None:
    before = said(learner_of(lm))
    lm.save(tmp_path / "model")
    again = load(str(tmp_path / "model"), device="cpu")
    torch.testing.assert_close(said(learner_of(again)), before, atol=1e-5, rtol=1e-6)


def test_bf16_scores_nearly_as_float32(kind: str, folder_of: Callable[[str], Path], lm: LanguageModel) -> None:
    rough = load(str(folder_of(kind)), device="cpu", precision="bf16")
    for words in (SINGLE, SEVERAL):
        scores = said(learner_of(rough, words))
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, said(learner_of(lm, words)), atol=0.3, rtol=0)


def test_eager_attention_takes_the_same_masks(kind: str, lm: LanguageModel) -> None:
    expected = said(learner_of(lm))
    before = lm.model.config._attn_implementation
    lm.model.set_attn_implementation("eager")
    try:
        torch.testing.assert_close(said(learner_of(lm)), expected, atol=1e-5, rtol=1e-6)
    finally:
        lm.model.set_attn_implementation(before)


def test_a_bare_model_of_the_family_is_refused_or_completed(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    """BART's hub checkpoint is a bare one whose head is tied; T5's encoder alone cannot answer."""
    for kind, cls in (("bart", tf.BartModel), ("t5", tf.T5EncoderModel), ("llama", tf.LlamaModel)):
        folder = build(kind, tmp_path / kind)
        cls.from_pretrained(folder_of(kind)).save_pretrained(folder)
        if kind == "bart":
            assert load(str(folder), device="cpu").family == "encoder_decoder"
        else:
            with pytest.raises(UserError, match=r"no trained .*language-model head"):
                load(str(folder), device="cpu")


def test_an_encoder_alone_is_enough_for_a_classifier(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    """Of a T5 the encoder is all that a classifier loads, trains and saves; BART is whole or refused."""
    folder = build("t5", tmp_path / "t5")
    tf.T5EncoderModel.from_pretrained(folder_of("t5")).save_pretrained(folder)
    encoder, whole = (load(str(one), device="cpu", head=False) for one in (folder, folder_of("t5")))
    batch = encoder.collate(encoder_of(encoder, TEMPLATE).encode(ROWS))
    torch.testing.assert_close(encoder.encode(batch), whole.encode(batch), atol=0, rtol=0)
    assert not [name for name, _ in whole.model.named_parameters() if "decoder" in name]
    folder = build("bart", tmp_path / "bart")
    weights = load_file(folder_of("bart") / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in weights.items() if ".decoder." not in name},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(UserError, match=r"the checkpoint lacks \d+ of \d+ weights of the body"):
        load(str(folder), device="cpu", head=False)


def test_a_t5_without_sentinels_is_refused(tmp_path: Path) -> None:
    folder = build("t5", tmp_path / "model", unigram(sentinels=False))
    with pytest.raises(UserError, match="no sentinel '<extra_id_0>'"):
        load(str(folder), device="cpu")


def test_other_encoder_decoders_are_refused(tmp_path: Path, folder_of: Callable[[str], Path]) -> None:
    config = tf.MarianConfig(vocab_size=20, d_model=8)
    config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="type 'marian' are not supported; those of the types t5, mt5, umt5, bart are"):
        load(str(tmp_path), device="cpu")


def test_rescaled_logits_are_refused(_loaded: Callable[[str], LanguageModel]) -> None:
    lm = _loaded("llama")
    lm.model.config.logits_scaling = 8.0
    try:
        with pytest.raises(UserError, match="rescales its logits"):
            type(lm)("x", lm.model, lm.tokenizer, lm.device)
    finally:
        del lm.model.config.logits_scaling


# --- what needs a masked LM ----------------------------------------------------------------------------------------


def test_head_tuning_needs_a_masked_model(kind: str, lm: LanguageModel) -> None:
    with pytest.raises(UserError, match="tuning=head trains the head of a masked LM"):
        learner_of(lm, cls=HeadLearner)


def test_zero_shot_computes_no_states_ahead(kind: str, lm: LanguageModel) -> None:
    learner = learner_of(lm, cls=ZeroShotLearner)
    assert learner.encode(ROWS).states is None
    torch.testing.assert_close(said(learner), said(learner_of(lm)))


def test_the_auxiliary_loss_needs_a_masked_model(_loaded: Callable[[str], LanguageModel]) -> None:
    with pytest.raises(UserError, match=r"ensemble\.alpha, trainer\.mlm_alpha: .* give 0"):
        MaskedModelling(learner_of(_loaded("gpt2")), [], 2, 0)


# --- the user's ways in --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["t5", "bart", "gpt2"])
def test_a_notebook_trains_and_predicts(kind: str, folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    clf = PromptClassifier(
        template=TEMPLATE,
        verbalizer={"neg": ["bad", "not so good"], "pos": "great"},
        model=str(folder_of(kind)),
        trainer={"max_steps": 8, "learning_rate": 3e-3},
        device="cpu",
        progress=False,
    )
    clf.fit(TEXTS, ["neg", "pos", "pos", "neg"])
    proba = clf.predict_proba(TEXTS)
    clf.save(tmp_path / "run")
    again = PromptClassifier.load(tmp_path / "run")
    assert abs(again.predict_proba(TEXTS) - proba).max() < 1e-5


def test_length_normalisation_is_a_setting(
    folder_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from pet_cli.commands.compose import compose
    from pet_cli.methods.prompted import build_learner
    from pet_cli.runs.session import Session

    scores = []
    for flag in ("true", "false"):
        overrides = [
            f"model.name={folder_of('gpt2')}",
            "tuning=zero_shot",
            "device=cpu",
            "template='{text} It was {mask}.'",
        ]
        overrides += ["verbalizer={negative: not so bad, positive: great}", f"scoring.length_normalise={flag}"]
        config = compose(overrides)
        session = Session()
        learner = build_learner(config, session.language_model(config), session)
        assert isinstance(learner, PromptLearner)
        scores.append(said(learner))
    count = len(learner.answers.ids[0])
    torch.testing.assert_close(scores[0] * torch.tensor([count, 1]), scores[1], atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("kind", ["t5", "bart", "gpt2"])
def test_show_tells_what_the_model_reads(
    kind: str, folder_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pet_cli.commands.show import show

    monkeypatch.setenv("COLUMNS", "200")
    overrides = [f"model.name={folder_of(kind)}", "device=cpu", "template='{soft:\"so\"} {text} is {mask}.'"]
    for word, tuning in (("bad", "full"), ("not so bad", "soft_prompt")):
        words = f"verbalizer={{negative: {word}, positive: great}}"
        assert show(["a plot"], 0, [*overrides, words, f"tuning={tuning}"]) == 0
        out = capsys.readouterr().out
        assert "top words" in out and "a plot is" in out
        assert show(None, 1, [*overrides, words, f"tuning={tuning}"]) == 0
        assert ("soft at" in capsys.readouterr().out) == (tuning == "soft_prompt")
        assert ("{soft 0}" in out) == (tuning == "soft_prompt") == ("soft at" in out)
        assert ("the answer behind the last" if kind in CAUSAL else "mask at") in out
        assert ("per token" in out) == (word == "not so bad")


def test_words_behind_a_prefix_read_it_and_themselves() -> None:
    words = WordTokens(AnswerTokens([Answers(((5, 6, 7), (8,), (9, 10)))], torch.device("cpu")))
    assert words.inputs.tolist() == [[5, 6, 9]] and words.targets.tolist() == [[6, 7, 10]]
    mask = words.tree_mask(torch.tensor([[False, True]]))[0, 0] == 0
    assert mask.int().tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 0, 1]]


def test_label_words_of_several_tokens_are_kept_whole(kind: str, lm: LanguageModel) -> None:
    verbalizer = ManualVerbalizer({"a": {"not so bad": 1.0}, "b": {"great": 1.0}}, option("scoring", "words"))
    ids = label_answers(lm, verbalizer, mask_without_space=False).ids
    assert len(ids[0]) > 1 and lm.tokenizer.decode(ids[0]).strip() == "not so bad"
