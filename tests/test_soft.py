"""Soft prompts and the other modes with a frozen model: what trains, what stays, what is saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from families import FAMILIES, POSITIONS
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from pet_cli.commands.cli import main
from pet_cli.commands.explain import explain
from pet_cli.config import registry
from pet_cli.config.build import option
from pet_cli.errors import UserError
from pet_cli.models.loading import load
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.batch import Batch
from pet_cli.prompts.template import Template
from pet_cli.training.loop import TrainSettings, train
from pet_cli.tuning.base import PromptLearner
from pet_cli.tuning.p_tuning import PTuningLearner
from pet_cli.tuning.prefix import PrefixLearner
from pet_cli.tuning.soft import SoftLearner
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
TARGETS = torch.tensor([1, 0, 1])
HARD = "{text} It was {mask}."
SOFT = '{text} {soft:"It was"} {mask}.'
FROZEN = ("soft_prompt", "word_embedding", "p_tuning", "prefix", "lora", "bitfit")
TAKES_NO_PREFIX = ("deberta", "deberta-own-head", "deberta-v2", "deberta-v3-own-head", "mpnet")
IN_TURN = pytest.mark.parametrize("mode", FROZEN)


def learner_of(lm: Any, mode: str, template: str = HARD, max_length: int = POSITIONS, **settings: Any) -> PromptLearner:
    cls = registry.implementation("tuning", mode)
    assert issubclass(cls, PromptLearner)
    torch.manual_seed(1)
    return cls(
        lm,
        Template.parse(template),
        labels=LABELS,
        settings=option("tuning", mode, **settings),
        max_length=max_length,
        verbalizer=ManualVerbalizer(parse_words(WORDS, LABELS), option("scoring", "words")),
    )


def scores(learner: PromptLearner) -> Tensor:
    return learner.predict(learner.encode(ROWS))


def trained(learner: PromptLearner, steps: int = 3, rate: float = 0.1) -> PromptLearner:
    train(learner, learner.encode(ROWS), TARGETS, TrainSettings(steps=steps, learning_rate=rate, batch_size=3))
    return learner


# --- an untrained prompt is the words it starts as -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hard", "soft"),
    [
        (HARD, SOFT),
        ("{text} It was {mask}. good", '{text} {soft:"It"} was {mask}. {soft:"good"}'),
        ("{text}? | {mask}, it is {other}", '{text}? | {mask}, {soft:"it is"} {other}'),
    ],
)
def test_soft_words_untrained_are_the_words(lm: MaskedLM, hard: str, soft: str) -> None:
    expected = scores(learner_of(lm, "zero_shot", hard))
    for mode in ("soft_prompt", "p_tuning", "zero_shot"):
        torch.testing.assert_close(scores(learner_of(lm, mode, soft)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "hard", [HARD, "{mask}! {text}", "A {text}. ({mask}) | Is {other}, good?", "{text}? | {mask}, {other}"]
)
def test_the_templates_words_untrained_are_themselves(lm: MaskedLM, hard: str) -> None:
    learner = learner_of(lm, "word_embedding", hard)
    torch.testing.assert_close(scores(learner), scores(learner_of(lm, "zero_shot", hard)), atol=1e-5, rtol=0)
    assert all(prompt.soft for prompt in learner.encode(ROWS).prompts)


@pytest.mark.parametrize("mode", ["lora", "bitfit"])
def test_an_untrained_adapter_changes_nothing(lm: MaskedLM, mode: str) -> None:
    if mode == "bitfit" and type(lm.model).__name__ == "ModernBertForMaskedLM":
        with pytest.raises(UserError, match="no biases"):
            learner_of(lm, mode)
        return
    torch.testing.assert_close(scores(learner_of(lm, mode)), scores(learner_of(lm, "zero_shot")), atol=1e-5, rtol=0)


def test_a_full_model_reads_soft_words_as_words(model_of: ModelOf) -> None:
    for mode in ("full", "head"):
        soft, hard = (scores(learner_of(model_of("bert"), mode, template)) for template in (SOFT, HARD))
        assert torch.equal(soft, hard)
        with pytest.raises(UserError, match=f"tuning={mode}.*soft_prompt"):
            learner_of(model_of("bert"), mode, "{soft*5} {text} It was {mask}.")
    left_out = learner_of(model_of("bert"), "zero_shot", "{soft*5} {text} It {soft} was {mask}.")
    assert torch.equal(scores(left_out), hard)
    assert learner_of(model_of("bert"), "zero_shot", "{soft*5} {text} It was {mask}.").template.source == HARD


def test_the_word_embeddings_are_those_of_the_literal_text_alone(model_of: ModelOf) -> None:
    lm = model_of("roberta")
    learner = learner_of(lm, "word_embedding", "It was {text}. So it is {mask}!")
    for prompt in learner.encode([{"text": "It was so. It was"}, {"text": "..."}, {"text": ""}]).prompts:
        tokens = lm.tokenizer.convert_ids_to_tokens([prompt.ids[position] for position, _ in prompt.soft])
        words = "".join(tokens).replace("Ġ", " ")
        assert words in ("It was. So it is!", "It was So it is!")  # "....", as one token, is not the template's
        slots = [slot for _, slot in prompt.soft]
        assert slots == sorted(slots) and len(set(slots)) == len(slots)


# --- training --------------------------------------------------------------------------------------------------------


@IN_TURN
@pytest.mark.parametrize("name", ["bert", "roberta", "albert"])
def test_the_model_is_the_same_bit_for_bit_and_the_prompt_is_not(model_of: ModelOf, name: str, mode: str) -> None:
    lm = model_of(name)
    before = {key: tensor.clone() for key, tensor in lm.model.state_dict().items()}
    attention = lm.model.config._attn_implementation
    plain = scores(learner_of(lm, "zero_shot"))
    learner = learner_of(lm, mode)
    first = scores(learner)
    assert not torch.equal(scores(trained(learner)), first)
    after = lm.model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[key], before[key]) for key in before)
    assert lm.model.config._attn_implementation == attention
    assert torch.equal(scores(learner_of(lm, "zero_shot")), plain)


@IN_TURN
def test_nothing_but_the_prompt_has_a_gradient_or_an_optimizer_state(
    model_of: ModelOf, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = model_of("bert")
    made: list[torch.optim.Optimizer] = []
    real = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *a, **o: made.append(real(*a, **o)) or made[0])
    learner = learner_of(lm, mode)
    buffers: list[Any] = []
    loss = learner.loss

    def spy(*args: Any, **options: Any) -> Tensor:
        buffers.extend(parameter.grad for parameter in lm.model.parameters())
        assert not lm.model.training and not any(parameter.requires_grad for parameter in lm.model.parameters())
        value = loss(*args, **options)
        value.backward(retain_graph=True)
        buffers.extend(parameter.grad for parameter in lm.model.parameters())
        return value

    monkeypatch.setattr(learner, "loss", spy)
    trained(learner)
    assert all(buffer is None for buffer in buffers)
    held = {id(parameter) for group in made[0].param_groups for parameter in group["params"]}
    assert not held & {id(parameter) for parameter in lm.model.parameters()}
    assert sum(p.numel() for g in made[0].param_groups for p in g["params"]) == learner.trained_parameters()


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("soft_prompt", {}),
        ("soft_prompt", {"conditioned": True}),
        ("p_tuning", {"length": 2, "hidden": 4}),
        ("word_embedding", {}),
        ("prefix", {}),
        ("prefix", {"projection": True}),
    ],
)
def test_the_gradient_of_the_prompt_is_the_finite_difference(
    tmp_path: Path, family_folder: Callable[[str], Path], mode: str, settings: dict[str, Any], monkeypatch: Any
) -> None:
    lm = load(str(family_folder("bert")), device="cpu")
    lm.model.double()

    def states(batch: Batch, embeds: Tensor | None = None) -> Tensor:  # as MaskedLM's, which rounds to float32
        return lm.encode(batch, embeds)[torch.arange(len(batch)).unsqueeze(1), batch.masks]

    monkeypatch.setattr(lm, "states", states)
    # A light hold, as three examples would make the default one thousands, in which small gradients are rounded away.
    learner = learner_of(lm, mode, "{soft} " + HARD if mode == "soft_prompt" else HARD, anchor=1e-4, **settings)
    learner.begin()
    data = learner.encode(ROWS)
    parameters = [parameter for group in learner.parameter_groups(1.0) for parameter in group["params"]]
    with torch.no_grad():
        for parameter in parameters:  # away from layers that start at 0
            parameter.add_(0.05 * torch.randn_like(parameter))
    learner.loss(data, range(3), TARGETS).backward()
    for parameter in parameters:
        assert parameter.dtype == torch.float64 and parameter.grad is not None
        flat = parameter.data.view(-1)
        for index in {0, len(flat) // 2, len(flat) - 1}:
            value, step = flat[index].item(), 1e-5  # small, as the network has kinks
            losses = []
            for steps in (-2, -1, 1, 2):
                flat[index] = value + steps * step
                with torch.no_grad():
                    losses.append(learner.loss(data, range(3), TARGETS).item())
            flat[index] = value
            # The rule of four points: its error is of the order of step^4, so what is left is rounding, about 1e-10.
            slope = (8 * (losses[2] - losses[1]) - (losses[3] - losses[0])) / (12 * step)
            assert parameter.grad.view(-1)[index].item() == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_a_conditioned_prompt_starts_as_the_plain_one_and_learns_to_differ(model_of: ModelOf) -> None:
    lm = model_of("bert")
    learner = learner_of(lm, "soft_prompt", conditioned=True)
    assert torch.equal(scores(learner), scores(learner_of(lm, "soft_prompt")))
    trained(learner, steps=6)
    batch = lm.collate(learner.encode(ROWS).prompts)
    embeds = learner.embeds(batch)
    assert embeds is not None and batch.soft is not None
    first = [embeds[row, int((batch.soft[row] == 0).nonzero())] for row in range(2)]
    assert not torch.allclose(first[0], first[1])


@pytest.mark.parametrize("mode", ["soft_prompt", "word_embedding", "p_tuning", "prefix"])
def test_few_examples_hold_a_prompt_to_its_start(model_of: ModelOf, mode: str) -> None:
    lm = model_of("bert")
    template = HARD if mode == "prefix" else SOFT
    learners = [learner_of(lm, mode, template, anchor=a, anchor_until=u) for a, u in ((0.0, 1), (2.0, 12), (2.0, 3))]
    free, held, enough = learners
    for learner in learners:
        if isinstance(learner, PrefixLearner):
            learner.flat.data *= 1.5
        else:
            learner.vectors.data += 0.5 * learner.scale  # type: ignore[operator]
    # Every vector is half a length from its start, of a prefix in the mean of those of a layer.
    vectors = len(free.flat) * 2 * len(free.places) if isinstance(free, PrefixLearner) else len(free.vectors)  # type: ignore[arg-type]
    encoded = free.encode(ROWS)
    indices = list(range(len(ROWS)))
    assert len(ROWS) == 3
    gap = held.loss(encoded, indices, TARGETS) - free.loss(encoded, indices, TARGETS)
    assert gap.item() == pytest.approx(2.0 * (4**2 - 1) * 0.25 * vectors, rel=1e-4)
    assert torch.equal(enough.loss(encoded, indices, TARGETS), free.loss(encoded, indices, TARGETS))


@pytest.mark.parametrize(
    ("mode", "settings"),
    [("soft_prompt", {}), ("soft_prompt", {"conditioned": True}), ("word_embedding", {}), ("p_tuning", {})],
)
def test_a_prompt_learns_the_same_in_a_model_of_larger_embeddings(
    family_folder: Callable[[str], Path], mode: str, settings: dict[str, Any]
) -> None:
    """BERT norms the sum of its embeddings, so with all of them ten times as large it says the same."""
    found = []
    for factor in (1.0, 10.0):
        lm = load(str(family_folder("bert")), device="cpu")
        with torch.no_grad():
            decoder = lm.model.get_output_embeddings()
            decoder.weight = torch.nn.Parameter(decoder.weight.clone())  # no longer the input's
            for table in (part for part in lm.model.bert.embeddings.modules() if isinstance(part, torch.nn.Embedding)):
                table.weight.mul_(factor)
        lm.model.bert.embeddings.LayerNorm.eps = 0.0
        learner = learner_of(lm, mode, SOFT, anchor=0.1, anchor_until=12, **settings)
        before = scores(learner)
        trained(learner, steps=16, rate=0.1)
        assert not torch.allclose(scores(learner), before, atol=1e-3)
        found.append((scores(learner), learner.prompt_vectors() / factor))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=5e-3, atol=1e-3)


def test_word_embeddings_may_train_with_the_model(model_of: ModelOf, tmp_path: Path) -> None:
    lm = model_of("bert")
    before = {key: tensor.clone() for key, tensor in lm.model.state_dict().items()}
    learner = learner_of(lm, "word_embedding", freeze_model=False)
    expected = scores(trained(learner))
    assert any(not torch.equal(tensor, before[key]) for key, tensor in lm.model.state_dict().items())
    assert learner.trained_parameters() > sum(parameter.numel() for parameter in lm.model.parameters())
    learner.save(tmp_path, whole=True)
    lm.restore()
    assert all(torch.equal(tensor, before[key]) for key, tensor in lm.model.state_dict().items())
    other = learner_of(load(str(tmp_path / "model"), device="cpu"), "word_embedding", freeze_model=False)
    other.load(tmp_path)
    assert torch.equal(scores(other), expected)
    with pytest.raises(UserError, match="another model"):
        learner_of(lm, "word_embedding", freeze_model=False).load(tmp_path)


# --- where the prompt stands, and what it starts as ------------------------------------------------------------------


def test_without_a_soft_slot_twenty_stand_in_front(model_of: ModelOf) -> None:
    learner = learner_of(model_of("bert"), "soft_prompt", "{mask}: {text}")
    prompt = learner.encode(ROWS[:1]).prompts[0]
    assert prompt.soft == tuple((1 + slot, slot) for slot in range(20)) and prompt.masks == (21,)
    with pytest.raises(UserError, match=r"no soft slot.*\{soft\*20\}"):
        learner_of(model_of("bert"), "soft_prompt", length=None)


def test_one_name_is_one_vector(model_of: ModelOf) -> None:
    learner = learner_of(model_of("bert"), "soft_prompt", "{soft@a*2} {text} {soft@b} {mask} {soft@a*2}")
    assert [slot for _, slot in learner.encode(ROWS[:1]).prompts[0].soft] == [0, 1, 2, 0, 1]
    assert learner.trained_state()["vectors"].shape == (3, 32)


def test_what_free_slots_start_as(model_of: ModelOf) -> None:
    lm = model_of("bert")
    table = lm.model.get_input_embeddings().weight.detach()
    ids = [lm.tokenizer.convert_tokens_to_ids(word) for word in ("terrible", "bad", "great", "good")]

    def start(template: str, **settings: Any) -> Tensor:
        return learner_of(lm, "soft_prompt", template, **settings).trained_state()["vectors"].detach()

    assert torch.equal(start("{soft*3} {text} {mask}", init="labels"), table[ids[:3]])
    assert torch.equal(start("{soft*6} {text} {mask}", init="labels")[:4], table[ids])
    assert torch.equal(start("{soft*2} {text} {mask}", init="text", text="good film")[0], table[ids[3]])
    words = start('{soft} {text} {soft:"bad"} {mask}', init="random")
    assert torch.equal(words[1], table[ids[1]]) and not (words[0] == table).all(dim=1).any()
    drawn = start("{soft*9} {text} {mask}", init="vocab")
    rows = [int((vector == table).all(dim=1).nonzero()[0]) for vector in drawn]
    assert len(set(rows)) == 9 and not set(rows) & set(lm.tokenizer.all_special_ids)
    spread = start("{soft*20} {text} {mask}", init="random").std()
    assert spread == pytest.approx(float(table[5:].std()), rel=0.3)


def put_off_the_end(learner: PromptLearner, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Lets training end without `end`, which is returned."""
    end = type(learner).end
    monkeypatch.setattr(learner, "end", lambda: monkeypatch.undo())
    return end


@pytest.mark.parametrize("encoder", ["lstm", "mlp"])
def test_a_folded_p_tuning_prompt_is_the_unfolded_one(
    model_of: ModelOf, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = learner_of(model_of("bert"), "p_tuning", "{soft*4} " + HARD, encoder=encoder)
    assert isinstance(learner, PTuningLearner)
    end = put_off_the_end(learner, monkeypatch)
    trained(learner)
    numbers, unfolded = learner.trained_parameters(), scores(learner)
    assert {key: tuple(tensor.shape) for key, tensor in learner.trained_state().items()} == {"vectors": (4, 32)}
    assert learner.network is not None, "reading what trained changes nothing"
    end(learner)
    assert learner.network is None and learner.trained_parameters() == numbers > 4 * 32
    torch.testing.assert_close(scores(learner), unfolded, atol=1e-6, rtol=0)
    plain = learner_of(model_of("bert"), "soft_prompt", "{soft*4} " + HARD)
    plain.load_trained_state(learner.trained_state())
    torch.testing.assert_close(scores(plain), unfolded, atol=1e-6, rtol=0)


# --- prefixes --------------------------------------------------------------------------------------------------------


def test_prefixes_train_where_the_model_takes_them(family: str, model_of: ModelOf) -> None:
    lm = model_of(family)
    if family in TAKES_NO_PREFIX:
        with pytest.raises(UserError, match=r"takes no prefix.*soft_prompt"):
            learner_of(lm, "prefix")
        return
    plain = scores(learner_of(lm, "zero_shot"))
    learner = learner_of(lm, "prefix", length=3)
    assert isinstance(learner, PrefixLearner)
    first = scores(learner)
    assert len(learner.places) == 2 and not torch.allclose(first, plain)
    assert not torch.allclose(scores(trained(learner)), first)
    assert torch.equal(scores(learner_of(lm, "zero_shot")), plain)
    assert learner.trained_parameters() == 3 * 2 * 2 * 32  # length, keys and values, layers, width


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(TAKES_NO_PREFIX) - {"modernbert"}))
def test_a_prefix_that_repeats_every_key_and_value_changes_nothing(model_of: ModelOf, name: str) -> None:
    # Each token then stands there twice, with half the attention each. (ModernBERT's local layers see a part only.)
    lm = model_of(name)
    text = "the film was great"
    learner = learner_of(lm, "prefix", "{text} {mask}", init="text", text=text, length=1)
    own = learner.encode([{"text": text}])
    learner.settings.length = len(own.prompts[0].ids)
    learner.begin()
    expected = learner_of(lm, "zero_shot", "{text} {mask}")
    torch.testing.assert_close(
        learner.predict(own), expected.predict(expected.encode([{"text": text}])), atol=1e-5, rtol=0
    )


def test_a_projected_prefix_is_folded_when_its_training_ends(
    model_of: ModelOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = learner_of(model_of("bert"), "prefix", length=4, projection=True)
    assert isinstance(learner, PrefixLearner)
    end = put_off_the_end(learner, monkeypatch)
    unfolded = scores(trained(learner))
    assert {key: tuple(tensor.shape) for key, tensor in learner.trained_state().items()} == {"prefix": (4, 128)}
    assert learner.network is not None, "reading what trained changes nothing"
    end(learner)
    assert learner.network is None
    torch.testing.assert_close(scores(learner), unfolded, atol=1e-6, rtol=0)


# --- saving ----------------------------------------------------------------------------------------------------------


@IN_TURN
def test_what_is_saved_is_small_and_says_the_same_on_the_frozen_model(
    model_of: ModelOf, family_folder: Callable[[str], Path], mode: str, tmp_path: Path
) -> None:
    learner = trained(
        learner_of(model_of("bert"), mode, "{soft*3} " + SOFT if mode in ("soft_prompt", "p_tuning") else HARD)
    )
    expected = scores(learner)
    learner.save(tmp_path, whole=True)
    assert not (tmp_path / "model").exists()
    assert (tmp_path / "trained.safetensors").stat().st_size < 50_000
    fresh = load(str(family_folder("bert")), device="cpu")
    other = learner_of(fresh, mode, learner.template.source)
    assert not torch.allclose(scores(other), expected)
    other.load(tmp_path)
    torch.testing.assert_close(scores(other), expected, atol=1e-6, rtol=0)


def test_a_prompt_of_another_model_is_refused(model_of: ModelOf, tmp_path: Path) -> None:
    learner_of(model_of("bert"), "soft_prompt").save(tmp_path, whole=False)
    for name in ("roberta", "electra"):  # of the same width, and of another
        with pytest.raises(UserError, match=r"trained\.safetensors was trained on another model"):
            learner_of(model_of(name), "soft_prompt").load(tmp_path)
    with pytest.raises(UserError, match="do not fit"):
        learner_of(model_of("bert"), "soft_prompt", length=19).load(tmp_path)
    (tmp_path / "trained.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="is damaged"):
        learner_of(model_of("bert"), "soft_prompt").load(tmp_path)
    (tmp_path / "trained.safetensors").unlink()
    with pytest.raises(UserError, match="no such file"):
        learner_of(model_of("bert"), "soft_prompt").load(tmp_path)


@pytest.mark.parametrize("targets", [None, "linear", ["value"]])
def test_peft_reads_a_saved_lora(
    model_of: ModelOf, family_folder: Callable[[str], Path], tmp_path: Path, targets: Any
) -> None:
    from peft import PeftModel

    lm = model_of("roberta")
    learner = trained(learner_of(lm, "lora", targets=targets, rank=2))
    learner.save(tmp_path, whole=False)
    model = PeftModel.from_pretrained(load(str(family_folder("roberta")), device="cpu").model, tmp_path / "adapter")
    batch = lm.collate(learner.encode(ROWS).prompts)
    with torch.inference_mode():
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        words = logits[torch.arange(3).unsqueeze(1), batch.masks, learner.lm.tokens(learner.answers).first]
    assert isinstance(learner.verbalizer, ManualVerbalizer)
    torch.testing.assert_close(learner.verbalizer.label_scores(words), scores(learner), atol=1e-5, rtol=0)


def _gpt2(folder: Path) -> Path:
    """A tiny GPT-2 and a byte-level tokenizer of single bytes."""
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    fast = tf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", model_max_length=96)
    fast.save_pretrained(folder)
    config = tf.GPT2Config(
        vocab_size=257, n_embd=32, n_layer=2, n_head=2, n_positions=128, eos_token_id=256, initializer_range=0.2
    )
    tf.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_peft_reads_a_soft_prompt_in_front_of_a_decoder_only_model(tmp_path: Path) -> None:
    from peft import PeftModel

    lm = load(str(_gpt2(tmp_path / "gpt2")), device="cpu")
    learner = trained(learner_of(lm, "soft_prompt", "{soft*4} {text} It was {mask}.", max_length=96, init="vocab"))
    learner.save(tmp_path, whole=False)
    model = PeftModel.from_pretrained(load(str(tmp_path / "gpt2"), device="cpu").model, tmp_path / "adapter")
    ids = lm.tokenizer(" a plot It was", return_tensors="pt")["input_ids"]
    answers = [torch.tensor(lm.tokenizer(f" {word}")["input_ids"]) for word in ("terrible", "bad", "great", "good")]
    means = []
    with torch.inference_mode():
        for answer in answers:
            logits = model(input_ids=torch.cat([ids[0], answer])[None]).logits[0, -len(answer) - 1 : -1]
            means.append(logits.log_softmax(-1).gather(1, answer.unsqueeze(1)).mean())
    assert isinstance(learner.verbalizer, ManualVerbalizer)
    expected = learner.verbalizer.label_scores(torch.stack(means)[None])
    own = learner.predict(learner.encode([{"text": "a plot"}]))
    torch.testing.assert_close(own.log_softmax(1), expected.log_softmax(1), atol=1e-5, rtol=0)


@IN_TURN
def test_every_mode_trains_on_a_decoder_only_model(tmp_path: Path, mode: str) -> None:
    lm = load(str(_gpt2(tmp_path / "gpt2")), device="cpu")
    before = {key: tensor.clone() for key, tensor in lm.model.state_dict().items()}
    learner = learner_of(lm, mode, "{text} It was {mask}.", max_length=96)
    first = scores(learner)
    assert not torch.allclose(scores(trained(learner)), first)
    assert all(torch.equal(tensor, before[key]) for key, tensor in lm.model.state_dict().items())


# --- on the command line ---------------------------------------------------------------------------------------------

SMALL = ("model=random", "trainer.max_steps=2", "data.shots=4", "data.max_test=12")


@pytest.mark.slow
@IN_TURN
def test_a_run_is_repeated_and_predicted_from_its_folder(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        assert main(["train", *SMALL, f"tuning={mode}", f"hydra.run.dir={name}"]) == 0
    names = ["trained.safetensors", "predictions.jsonl", "metrics.json"]
    names += ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"] if mode == "lora" else []
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not (tmp_path / "a" / "model").exists()
    capsys.readouterr()
    texts = ["a good one", "it broke"]
    said = []
    for folder in ("a", "b"):
        assert main(["predict", folder, "--text", texts[0]]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1] and sum(said[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_explain_names_the_words_near_each_vector_and_how_far_it_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = ["train", *SMALL, "hydra.run.dir=run", "resume=true"]
    assert main([*run, "tuning=word_embedding", "template='{text} It was {mask}.'"]) == 0
    capsys.readouterr()
    assert explain("run", top=3) == 0
    out = capsys.readouterr().out
    assert "started as it, moved" in out and "started as was, moved" in out and "moved 0.000" not in out
    assert out.count("cosine") == out.count("distance") == 3
    assert main(["train", *SMALL, "hydra.run.dir=soft", "tuning=p_tuning", "tuning.init=random"]) == 0
    capsys.readouterr()
    assert explain("soft") == 0
    assert "started as" not in capsys.readouterr().out
    assert main(["train", *SMALL, "hydra.run.dir=bias", "tuning=bitfit"]) == 0
    with pytest.raises(UserError, match="tuning=bitfit trains no vectors"):
        explain("bias")
    with pytest.raises(UserError, match="--top 0"):
        explain("run", top=0)


def test_an_untrained_prompt_has_not_moved(model_of: ModelOf) -> None:
    from pet_cli.commands.explain import neighbours

    learner = learner_of(model_of("bert"), "soft_prompt", '{text} {soft:"It was"} {mask}.')
    assert isinstance(learner, SoftLearner)
    found = neighbours(learner, learner.prompt_vectors().detach(), 2)
    assert [one.start for one in found] == [one.cosine[0][0] for one in found] == ["it", "was"]
    assert all(one.moved == 0 and one.cosine[0][1] == pytest.approx(1) for one in found)


# --- bad input -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    mode: str
    says: str
    template: str = HARD
    settings: tuple[tuple[str, Any], ...] = ()


@pytest.mark.parametrize(
    "bad",
    [
        Bad("soft_prompt", "text is empty", settings=(("init", "text"),)),
        Bad("prefix", "text is empty", settings=(("init", "text"), ("text", " "))),
        Bad("soft_prompt", "tuning.init=label: not one of.*labels", settings=(("init", "label"),)),
        Bad("soft_prompt", "tuning.length=0", settings=(("length", 0),)),
        Bad("prefix", "tuning.length=0", settings=(("length", 0),)),
        Bad("soft_prompt", "70 trainable tokens.*64", "{soft*70} {text} {mask}"),
        Bad("p_tuning", "70 trainable tokens", settings=(("length", 70),)),
        Bad("p_tuning", "tuning.encoder=gru", settings=(("encoder", "gru"),)),
        Bad("word_embedding", "no words of its own", "{text} {mask}"),
        Bad("lora", "tuning.rank=0", settings=(("rank", 0),)),
        Bad("lora", "tuning=lora: .*qury", settings=(("targets", ["qury"]),)),
        Bad("soft_prompt", "tuning.bottleneck=0", settings=(("conditioned", True), ("bottleneck", 0))),
    ],
    ids=lambda bad: f"{bad.mode}-{bad.says}",
)
def test_mistakes_are_named(model_of: ModelOf, bad: Bad) -> None:
    with pytest.raises(UserError, match=bad.says):
        learner_of(model_of("bert"), bad.mode, bad.template, **dict(bad.settings))


@pytest.mark.parametrize("mode", ["soft_prompt", "prefix", "lora", "word_embedding"])
def test_an_unknown_key_of_a_mode_is_named(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SMALL, f"tuning={mode}", "tuning.lenght=3"]) == 2
    assert "lenght" in capsys.readouterr().err


def test_no_text_fits_beside_the_prompt(model_of: ModelOf) -> None:
    learner = learner_of(model_of("bert"), "soft_prompt", "{soft*62} {text} It was {mask}.")
    with pytest.raises(UserError, match="never shortened takes"):
        learner.encode(ROWS)
