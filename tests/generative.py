"""Tiny encoder-decoder and decoder-only models with random weights, laid out as on the hub."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from families import learned_pieces
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

POSITIONS = 160
DROPOUT = 0.1
TEXTS = ("the film was good .", "a plot", "this story , this long long story about an actor is bad !", "music")
SINGLE = ("great", "bad", "good")
_CORPUS = [f"{text} It was {word}. ({word}) a {word}!" for text in TEXTS for word in SINGLE for _ in range(4)]


def _byte_level(specials: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def _bart() -> Tokenizer:
    tokenizer = _byte_level(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    return tokenizer


def _llama() -> Tokenizer:
    tokenizer = _byte_level(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def unigram(sentinel: str = "<extra_id_0>", sentinels: bool = True) -> Tokenizer:
    """T5's, in its three layouts: sentinels as special tokens, as pieces of the vocabulary (mT5), or none."""
    marks = pre_tokenizers.Metaspace(prepend_scheme="always")
    learned = Tokenizer(models.Unigram())
    learned.pre_tokenizer = marks
    alphabet = [chr(code) for code in range(33, 127)]
    trainer = trainers.UnigramTrainer(
        vocab_size=160, unk_token="<unk>", special_tokens=["<unk>"], initial_alphabet=alphabet, show_progress=False
    )
    learned.train_from_iterator(_CORPUS, trainer)
    pieces = learned_pieces(learned)
    pieces |= {f"▁{word}": -4.0 for word in (*SINGLE, "a")} | {"▁(": -4.0, "▁": min(pieces.values())}
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces.items()]
    if sentinels:
        vocab += [(sentinel.replace("0", str(n)), -30.0) for n in (2, 1, 0)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=2))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = marks
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    if sentinels and sentinel[0] == "<":
        tokenizer.add_special_tokens([sentinel.replace("0", str(n)) for n in range(3)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


@dataclass(frozen=True)
class Tiny:
    """A tiny model: configuration class and options, model class, tokenizer, and the tokenizer's special tokens."""

    config: type[Any]
    model: type[Any]
    tokenizer: Callable[[], Tokenizer]
    specials: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


_T5: dict[str, Any] = {
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 2,
    "dropout_rate": DROPOUT,
    "initializer_factor": 0.3,
}
_T5 |= {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "relative_attention_num_buckets": 8}
_T5_SPECIALS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
_V11: dict[str, Any] = {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_WIDE: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_WIDE |= {"num_key_value_heads": 2, "max_position_embeddings": POSITIONS, "initializer_range": 0.1}
_WIDE |= {"attention_dropout": DROPOUT}
_BART: dict[str, Any] = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "max_position_embeddings": POSITIONS}
_BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
_BART |= {
    "init_std": 0.2,
    "dropout": DROPOUT,
    "attention_dropout": DROPOUT,
    "activation_dropout": DROPOUT,
    "decoder_start_token_id": 2,
    "scale_embedding": True,
}
_GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS, "initializer_range": 0.2}
_GPT2 |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), DROPOUT)
_GPT2 |= {"bos_token_id": 0, "eos_token_id": 0}
_EOT = "<|endoftext|>"

TINY: dict[str, Tiny] = {
    "t5": Tiny(tf.T5Config, tf.T5ForConditionalGeneration, unigram, _T5_SPECIALS, _T5),
    "t5-v1.1": Tiny(tf.T5Config, tf.T5ForConditionalGeneration, unigram, _T5_SPECIALS, _V11),
    "mt5": Tiny(
        tf.MT5Config,
        tf.MT5ForConditionalGeneration,
        functools.partial(unigram, "▁<extra_id_0>"),
        _T5_SPECIALS,
        _V11,
    ),
    "bart": Tiny(
        tf.BartConfig,
        tf.BartForConditionalGeneration,
        _bart,
        {**_T5_SPECIALS, "bos_token": "<s>", "mask_token": "<mask>"},
        _BART,
    ),
    "gpt2": Tiny(
        tf.GPT2Config,
        tf.GPT2LMHeadModel,
        functools.partial(_byte_level, [_EOT]),
        {"bos_token": _EOT, "eos_token": _EOT, "unk_token": _EOT},
        _GPT2,
    ),
    "llama": Tiny(
        tf.LlamaConfig,
        tf.LlamaForCausalLM,
        _llama,
        {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
        _WIDE,
    ),
    "qwen2": Tiny(
        tf.Qwen2Config,
        tf.Qwen2ForCausalLM,
        functools.partial(_byte_level, ["<|endoftext|>", "<|im_end|>"]),
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        _WIDE,
    ),
}
T5S = ("t5", "t5-v1.1", "mt5")
CAUSAL = ("gpt2", "llama", "qwen2")


def build(name: str, folder: Path, tokenizer: Tokenizer | None = None) -> Path:
    """Writes a tiny model and its tokenizer, laid out as on the hub."""
    tiny = TINY[name]
    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizer or tiny.tokenizer()
    made.save(str(folder / "tokenizer.json"))
    own = {"tokenizer_class": "PreTrainedTokenizerFast", **tiny.specials}
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = tiny.model(tiny.config(vocab_size=made.get_vocab_size(), **tiny.options))
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms too, so that a forgotten one shows
                parameter.add_(0.05 * torch.randn_like(parameter))
            for key, tensor in model.named_buffers():
                if key == "final_logits_bias":
                    tensor.normal_(std=0.3)
    model.save_pretrained(folder)
    return folder
