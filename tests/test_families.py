"""Every masked-LM family: what pet scores and trains is what the model of transformers itself says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from families import FAMILIES, POSITIONS, build
from tokenizers import normalizers
from torch import Tensor

from pet_cli.config.build import option
from pet_cli.errors import UserError
from pet_cli.models.loading import load
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.encoder import PromptEncoder, word_ids
from pet_cli.prompts.query import Answers
from pet_cli.prompts.template import Template
from pet_cli.training.loop import TrainSettings, train
from pet_cli.tuning.base import PromptLearner
from pet_cli.tuning.full import FullLearner
from pet_cli.tuning.head import HeadLearner
from pet_cli.tuning.zero_shot import ZeroShotLearner
from pet_cli.verbalizers.manual import ManualVerbalizer
from pet_cli.verbalizers.words import parse_words

pytestmark = pytest.mark.xdist_group("families")

ModelOf = Callable[[str], MaskedLM]

LABELS = ["negative", "positive"]
WORDS = {"negative": ["terrible", "bad"], "positive": ["great", "good"]}
ROWS = [
    {"text": "the film was great", "other": "yes, it is good!"},
    {"text": "a plot", "other": "no"},
    {"text": "So I say: this story was bad, maybe it is terrible? (the long music)", "other": "an actor was great"},
]
TARGETS = torch.tensor([1, 1, 1])  # a random model's mask hardly sees the text, so there is one thing to learn


@dataclass(frozen=True)
class Case:
    """A template, and by hand the segments it makes of a row; `M` stands for the mask."""

    template: str
    segments: Callable[[Mapping[str, str]], tuple[str, str | None]]

    def strings(self, row: Mapping[str, str], mask: str) -> list[str]:
        return [text.replace("M", mask) for text in self.segments(row) if text is not None]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_tiny_model_has_the_same_tokens_each_time_it_is_made(name: str) -> None:
    family = FAMILIES[name]
    assert family.tokenizer(family.specials).to_str() == family.tokenizer(family.specials).to_str()


CASES = [
    Case("{text} It was {mask}.", lambda r: (f"{r['text']} It was M.", None)),
    Case("{mask}! {text}", lambda r: (f"M! {r['text']}", None)),
    Case("{text}? {mask}", lambda r: (f"{r['text']}? M", None)),
    Case("{text} ({mask})", lambda r: (f"{r['text']} (M)", None)),
    Case("{text}? | {mask}, {other}", lambda r: (f"{r['text']}?", f"M, {r['other']}")),
    Case("{mask} {text} | {other}", lambda r: (f"M {r['text']}", r["other"])),
    Case('{text} | "{other}" ({mask}).', lambda r: (r["text"], f'"{r["other"]}" (M).')),
]
BY_TEMPLATE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.template)


def learner_of(lm: MaskedLM, mode: str, template: str = "{text} It was {mask}.", **options: Any) -> PromptLearner:
    settings = {
        "full": option("tuning", "full", dropout=False),
        "head": option("tuning", "head", decoder=bool(options.pop("decoder", False)), anchor=0.0),
        "zero_shot": option("tuning", "zero_shot"),
    }[mode]
    modes: dict[str, type[PromptLearner]] = {"full": FullLearner, "head": HeadLearner, "zero_shot": ZeroShotLearner}
    return modes[mode](
        lm,
        Template.parse(template),
        labels=LABELS,
        settings=settings,
        max_length=POSITIONS,
        verbalizer=ManualVerbalizer(parse_words(options.pop("words", WORDS), LABELS), option("scoring", "words")),
    )


def own_logits(lm: MaskedLM, segments: Sequence[str]) -> Tensor:
    """The vocabulary's logits at the mask by the tokenizer's and the model's own plain call, `[vocabulary]`."""
    # ALBERT's tokenizer in transformers 5 leaves the segments out unless asked, though the model learned them
    with_types = "token_type_ids" in inspect.signature(lm.model.forward).parameters
    inputs = lm.tokenizer(*segments, return_token_type_ids=with_types, return_tensors="pt")
    position = (inputs["input_ids"][0] == lm.tokenizer.mask_token_id).nonzero().item()
    logits: Tensor = lm.model(**inputs).logits[0, int(position)]
    return logits


def snapshot(lm: MaskedLM) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}


@BY_TEMPLATE
def test_a_prompt_that_is_not_cut_has_the_tokenizers_own_ids(lm: MaskedLM, case: Case) -> None:
    prompts = PromptEncoder(lm.tokenizer, Template.parse(case.template), 512).encode(ROWS)
    for prompt, row in zip(prompts, ROWS, strict=True):
        own = lm.tokenizer(*case.strings(row, lm.mask_token), return_token_type_ids=True)
        assert prompt.ids == own["input_ids"]
        assert prompt.types == own["token_type_ids"]
        assert prompt.masks == (own["input_ids"].index(lm.tokenizer.mask_token_id),)
        assert prompt.cut == 0


@BY_TEMPLATE
@torch.inference_mode()
def test_scores_at_the_mask_are_the_models_own_logits_alone_and_padded(lm: MaskedLM, case: Case) -> None:
    prompts = PromptEncoder(lm.tokenizer, Template.parse(case.template), POSITIONS).encode(ROWS)
    glued = Template.parse(case.template).mask_without_space()
    words = ("great", "terrible", "maybe")
    ids = Answers(tuple(tuple(word_ids(lm.tokenizer, word, space=not glued)) for word in words))
    columns = torch.tensor(ids.ids).flatten()
    expected = torch.stack([own_logits(lm, case.strings(row, lm.mask_token)) for row in ROWS])

    batch = lm.collate(prompts)
    assert batch.attention_mask.sum(1).min() < batch.attention_mask.shape[1], "the batch must be padded"
    states = lm.states(batch)
    torch.testing.assert_close(lm.word_scores(states, None)[:, 0], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(lm.word_scores(states, columns)[:, 0], expected[:, columns], atol=1e-5, rtol=0)
    torch.testing.assert_close(lm.score_answers(batch, ids), expected[:, columns], atol=1e-5, rtol=0)
    for index, prompt in enumerate(prompts):
        alone = lm.score_answers(lm.collate([prompt]), ids)[0]
        torch.testing.assert_close(alone, expected[index, columns], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_prompt_of_the_models_full_length_can_be_scored(lm: MaskedLM) -> None:
    assert lm.positions == POSITIONS
    learner = learner_of(lm, "zero_shot")
    encoded = learner.encode([{"text": "the film was great " * 60}, {"text": "no"}])
    assert len(encoded.prompts[0].ids) == lm.positions
    assert encoded.prompts[0].cut > 0
    assert learner.predict(encoded).isfinite().all()


def test_a_tokenizer_that_names_a_shorter_length_is_heeded(model_of: ModelOf, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = model_of("bert")
    monkeypatch.setattr(lm.tokenizer, "model_max_length", 20)
    assert lm.positions == 20


@pytest.mark.parametrize(("template", "text"), [("It was {mask} .", "It was great ."), ("A ({mask})", "A (great)")])
def test_the_mask_filled_with_a_label_word_reads_as_the_sentence_itself(
    family: str, lm: MaskedLM, template: str, text: str
) -> None:
    parsed = Template.parse(template)
    [prompt] = PromptEncoder(lm.tokenizer, parsed, POSITIONS).encode([{}])
    [word] = word_ids(lm.tokenizer, "great", space=not parsed.mask_without_space())
    filled = [word if token == lm.tokenizer.mask_token_id else token for token in prompt.ids]
    own = lm.tokenizer(text)["input_ids"]
    if FAMILIES[family].tokenizer_class in ("AlbertTokenizer", "XLMRobertaTokenizer", "DebertaV2Tokenizer"):
        assert word in own  # behind a mask these tokenizers start a new piece, so the rest may differ
    else:
        assert filled == own


@pytest.mark.parametrize("name", ["roberta", "deberta", "modernbert", "albert", "xlmr", "deberta-v2"])
def test_a_mask_glued_to_a_bracket_asks_for_the_word_without_its_space(name: str, model_of: ModelOf) -> None:
    lm = model_of(name)
    glued, spaced = (learner_of(lm, "zero_shot", template).answers.ids for template in ("({mask})", "It was {mask}"))
    flat = [word for words in WORDS.values() for word in words]
    assert list(map(list, glued)) == [word_ids(lm.tokenizer, word, space=False) for word in flat]
    assert list(map(list, spaced)) == [word_ids(lm.tokenizer, word, space=True) for word in flat]
    assert not any(ids in spaced for ids in glued)


def test_a_few_steps_of_full_tuning_lower_the_loss(lm: MaskedLM) -> None:
    learner = learner_of(lm, "full")
    before = snapshot(lm)
    report = train(learner, learner.encode(ROWS), TARGETS, TrainSettings(steps=8, learning_rate=2e-3, batch_size=3))
    assert report.losses[-1] < 0.6 * report.losses[0]
    assert any(not torch.equal(tensor, before[name]) for name, tensor in lm.model.state_dict().items())


@pytest.mark.parametrize("decoder", [False, True])
def test_head_tuning_learns_and_leaves_the_shared_model_as_it_was(lm: MaskedLM, decoder: bool, tmp_path: Path) -> None:
    before = snapshot(lm)
    learner = learner_of(lm, "head", decoder=decoder)
    encoded = learner.encode(ROWS)
    untrained = learner.predict(encoded)
    zero_shot = learner_of(lm, "zero_shot")
    torch.testing.assert_close(untrained, zero_shot.predict(zero_shot.encode(ROWS)), atol=1e-5, rtol=0)

    report = train(learner, encoded, TARGETS, TrainSettings(steps=25, learning_rate=5e-3, batch_size=3))
    assert report.losses[-1] < 0.6 * report.losses[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in lm.model.state_dict().items())

    learner.save(tmp_path, whole=True)
    assert not (tmp_path / "model").exists()
    lm.restore()
    again = learner_of(lm, "head", decoder=decoder)
    again.load(tmp_path)
    assert torch.equal(again.predict(again.encode(ROWS)), learner.predict(learner.encode(ROWS)))


def test_a_saved_full_run_reads_back_by_plain_transformers(lm: MaskedLM, tmp_path: Path) -> None:
    learner = learner_of(lm, "full")
    train(learner, learner.encode(ROWS), TARGETS, TrainSettings(steps=3, learning_rate=1e-2, batch_size=3))
    learner.save(tmp_path, whole=True)

    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    inputs = tokenizer([row["text"] + f" It was {lm.mask_token}." for row in ROWS], padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert torch.equal(model(**inputs).logits, lm.model(**inputs).logits)
    again = load(str(tmp_path / "model"), device="cpu")
    assert isinstance(again, MaskedLM)
    loaded = learner_of(again, "full")
    assert torch.equal(loaded.predict(loaded.encode(ROWS)), learner.predict(learner.encode(ROWS)))


def test_full_tuning_has_the_gradients_of_a_plain_forward_over_the_vocabulary(lm: MaskedLM) -> None:
    words = {"negative": "terrible", "positive": "great"}
    learner = learner_of(lm, "full", "{text} | It was {mask}.", words=words)
    learner.begin()
    learner.loss(learner.encode(ROWS), range(3), torch.tensor([1, 0, 1])).backward()
    ours = {name: p.grad for name, p in lm.model.named_parameters()}

    lm.model.zero_grad(set_to_none=True)
    columns = torch.tensor([word_ids(lm.tokenizer, word)[0] for word in words.values()])
    logits = [own_logits(lm, (row["text"], f"It was {lm.mask_token}."))[columns] for row in ROWS]
    F.cross_entropy(torch.stack(logits), torch.tensor([1, 0, 1])).backward()
    plain = {name: p.grad for name, p in lm.model.named_parameters()}
    lm.model.zero_grad(set_to_none=True)

    assert sum(grad is not None and bool(grad.any()) for grad in ours.values()) > 10
    for name, grad in plain.items():
        other = ours[name]
        if grad is None or other is None:
            missing = other if grad is None else grad
            assert missing is None or not missing.any(), name
        else:
            torch.testing.assert_close(other, grad, atol=1e-6, rtol=1e-4, msg=name)


def test_a_label_word_of_several_tokens_is_refused_with_its_pieces(lm: MaskedLM) -> None:
    word = "storybad"
    pieces = word_ids(lm.tokenizer, word)
    assert len(pieces) > 1
    with pytest.raises(UserError) as error:
        learner_of(lm, "zero_shot", words={"negative": word, "positive": "great"})
    assert f"'{word}' is {len(pieces)} tokens" in str(error.value)
    assert " ".join(lm.tokenizer.convert_ids_to_tokens(pieces)) in str(error.value)


def test_a_label_word_outside_the_vocabulary_is_refused(model_of: ModelOf) -> None:
    with pytest.raises(UserError, match="'漢' is not in this model's vocabulary"):
        learner_of(model_of("bert"), "zero_shot", words={"negative": "漢", "positive": "great"})


def test_two_label_words_that_are_one_token_are_refused(model_of: ModelOf) -> None:
    with pytest.raises(UserError, match="'great' and 'Great' are the same token"):
        learner_of(model_of("bert"), "zero_shot", words={"negative": "great", "positive": "Great"})


@pytest.mark.parametrize("name", ["bert", "roberta", "xlmr", "modernbert"])
def test_a_model_without_a_mask_token_is_refused(name: str, tmp_path: Path) -> None:
    build(name, tmp_path / "model", mask=False)
    with pytest.raises(UserError, match="no mask token"):
        load(str(tmp_path / "model"), device="cpu")


def test_an_encoder_without_its_mlm_head_is_refused(family: str, tmp_path: Path) -> None:
    build(family, tmp_path / "model", cls=FAMILIES[family].bare)
    with pytest.raises(UserError, match="no trained masked-LM head"):
        load(str(tmp_path / "model"), device="cpu")


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("electra", transformers.ElectraForPreTraining),
        ("bert", transformers.BertForSequenceClassification),
        ("roberta", transformers.RobertaForSequenceClassification),
        ("bert", transformers.BertForNextSentencePrediction),
    ],
)
def test_a_discriminator_or_a_classifier_is_refused(name: str, cls: type[Any], tmp_path: Path) -> None:
    build(name, tmp_path / "model", cls=cls)
    with pytest.raises(UserError, match=r"no trained masked-LM head .* weights missing, such as"):
        load(str(tmp_path / "model"), device="cpu")


def test_a_text_that_the_tokenizer_normalises_to_the_mask_is_not_one(
    family_folder: Callable[[str], Path],
) -> None:
    lm = load(str(family_folder("xlmr")), device="cpu")
    lm.tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()  # as the published model's
    text = "a ＜ｍａｓｋ＞ plot"
    assert lm.tokenizer.mask_token_id in lm.tokenizer(text)["input_ids"]
    encoder = PromptEncoder(lm.tokenizer, Template.parse("{text} It was {mask}."), POSITIONS)
    plain, odd = encoder.encode([{"text": "a plot"}, {"text": text}])
    assert [prompt.ids.count(lm.tokenizer.mask_token_id) for prompt in (plain, odd)] == [1, 1]
    assert odd.ids[odd.masks[0] :] == plain.ids[plain.masks[0] :]
