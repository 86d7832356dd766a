"""Tiny random models of every masked-LM family, each with its family's own kind of tokenizer, written to folders.

The tokenizers are trained here on a few sentences and laid out as the published ones are (special tokens, a mask that
eats the space before it where the family's does, post-processing), so spacing and borders come out as they do with
the real models.
"""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = ("great", "terrible", "good", "bad", "yes", "no", "maybe")
"""Words that are one token to every tokenizer here, behind a space and glued to a bracket."""

DROPOUT = 0.1
"""Of every kind that a family has, as the published models have it."""

POSITIONS = 64
"""The most tokens every model here takes."""

_SUBJECTS = ("the film", "a plot", "this story", "an actor", "the long music", "a meal", "that room", "the phone")
_CORPUS = [
    f"{subject} was {word} . ( {word} ) {word} ! it is {word}, and {word}? so ({word}) I say: {word}"
    for subject, word in itertools.product(_SUBJECTS, WORDS)
]
_ALPHABET = [chr(code) for code in range(33, 127)]


@dataclass(frozen=True)
class Specials:
    """A tokenizer's special tokens."""

    cls: str
    sep: str
    pad: str
    unk: str
    mask: str

    @property
    def names(self) -> dict[str, str]:
        return {f"{name}_token": getattr(self, name) for name in ("cls", "sep", "pad", "unk", "mask")}


_BERT = Specials("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")
_ROBERTA = Specials("<s>", "</s>", "<pad>", "<unk>", "<mask>")
_ALBERT = Specials("[CLS]", "[SEP]", "<pad>", "<unk>", "[MASK]")
_MPNET = Specials("<s>", "</s>", "<pad>", "[UNK]", "<mask>")


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        config: the configuration's class; `options` is what it has of its own.
        model: the class with the MLM head; `bare` is the encoder alone.
        tokenizer: makes its tokenizer; `tokenizer_class` is its name in transformers.
    """

    config: type[Any]
    model: type[Any]
    bare: type[Any]
    tokenizer: Callable[[Specials], Tokenizer]
    tokenizer_class: str
    specials: Specials
    options: dict[str, Any] = field(default_factory=dict)


# --- tokenizers ----------------------------------------------------------------------------------------------------


def _word_piece(specials: Specials) -> Tokenizer:
    """BERT's, lower-cased."""
    own = _ordered(specials)

    def empty(pieces: dict[str, int]) -> Tokenizer:
        tokenizer = Tokenizer(models.WordPiece(pieces, unk_token=specials.unk))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        return tokenizer

    # Left to itself the trainer numbers the letters inside words by chance, and with them every merge.
    inside = [f"##{letter}" for letter in string.ascii_lowercase]
    learner = empty({})
    learner.train_from_iterator(
        _CORPUS,
        trainers.WordPieceTrainer(
            special_tokens=own + inside, initial_alphabet=_ALPHABET, vocab_size=400, show_progress=False
        ),
    )
    tokenizer = empty(learner.get_vocab())
    tokenizer.add_special_tokens(own)
    tokenizer.post_processor = _bert_borders(tokenizer, specials)
    return tokenizer


def _mpnet(specials: Specials) -> Tokenizer:
    """BERT's word pieces between RoBERTa's special tokens."""
    tokenizer = _word_piece(specials)
    tokenizer.add_special_tokens([AddedToken(specials.mask, lstrip=True, normalized=False)])
    tokenizer.post_processor = _roberta_borders(tokenizer, specials)
    return tokenizer


def _byte_level(specials: Specials, before: bool = True) -> Tokenizer:
    """GPT-2's byte-level BPE; the special tokens stand before the vocabulary or, in ModernBERT, behind it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=_ordered(specials) if before else [],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_special_tokens(_ordered(specials)[:-1])
    tokenizer.add_special_tokens([AddedToken(specials.mask, lstrip=True, normalized=False)])
    return tokenizer


def _roberta(specials: Specials) -> Tokenizer:
    tokenizer = _byte_level(specials)
    tokenizer.post_processor = _roberta_borders(tokenizer, specials)
    return tokenizer


def _deberta(specials: Specials) -> Tokenizer:
    tokenizer = _byte_level(specials)
    tokenizer.post_processor = _double_borders(tokenizer, specials)
    return tokenizer


def _modernbert(specials: Specials) -> Tokenizer:
    tokenizer = _byte_level(specials, before=False)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = _bert_borders(tokenizer, specials)
    return tokenizer


def _unigram(specials: Specials, pre: Any, *, mask_is_piece: bool, mask_eats_space: bool) -> Tokenizer:
    """SentencePiece's Unigram model as `tokenizers` has it, trained, and made to hold `WORDS`."""
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre
    trainer = trainers.UnigramTrainer(
        vocab_size=200, unk_token="<unk>", special_tokens=["<unk>"], initial_alphabet=_ALPHABET, show_progress=False
    )
    trained.train_from_iterator(_CORPUS, trainer)
    pieces = learned_pieces(trained)
    pieces |= {mark + word: -4.0 for word in WORDS for mark in ("", "▁")}
    pieces |= {"▁(": -4.0, "▁a": -4.0, "▁": min(pieces.values())}
    own = _ordered(specials)
    vocab = [(text, 0.0) for text in (own if mask_is_piece else own[:-1])] + list(pieces.items())
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=own.index(specials.unk)))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(own[:-1])
    tokenizer.add_special_tokens([AddedToken(specials.mask, lstrip=mask_eats_space, normalized=False)])
    return tokenizer


def learned_pieces(trained: Tokenizer) -> dict[str, float]:
    """What a Unigram model has learned, the same in every process: its trainer adds up in an order made by chance,
    which moves the numbers of the pieces and their scores in the third digit."""
    learned = sorted(json.loads(trained.to_str())["model"]["vocab"])
    return {piece: round(score, 1) for piece, score in learned if piece != "<unk>"}


def _metaspace(whitespace_first: bool) -> Any:
    marks = pre_tokenizers.Metaspace(prepend_scheme="always")
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marks]) if whitespace_first else marks


def _albert(specials: Specials) -> Tokenizer:
    tokenizer = _unigram(specials, _metaspace(True), mask_is_piece=True, mask_eats_space=True)
    steps: list[Any] = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.post_processor = _bert_borders(tokenizer, specials)
    return tokenizer


def _deberta_v2(specials: Specials) -> Tokenizer:
    tokenizer = _unigram(specials, _metaspace(False), mask_is_piece=False, mask_eats_space=False)
    steps: list[Any] = [normalizers.NFC(), normalizers.Strip(left=False, right=True)]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.post_processor = _bert_borders(tokenizer, specials)
    return tokenizer


def _xlmr(specials: Specials) -> Tokenizer:
    tokenizer = _unigram(specials, _metaspace(True), mask_is_piece=True, mask_eats_space=True)
    tokenizer.post_processor = _double_borders(tokenizer, specials)
    return tokenizer


def _ordered(specials: Specials) -> list[str]:
    """In the order of their ids: RoBERTa's padding is 1, ALBERT's unknown token is; the mask comes last."""
    cls, sep, pad, unk = specials.cls, specials.sep, specials.pad, specials.unk
    first = [cls, pad, sep, unk] if cls == "<s>" else [pad, unk, cls, sep]
    return [*first, specials.mask]


def _bert_borders(tokenizer: Tokenizer, specials: Specials) -> Any:
    cls, sep = specials.cls, specials.sep
    return _borders(tokenizer, f"{cls}:0 $A:0 {sep}:0", f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1", cls, sep)


def _double_borders(tokenizer: Tokenizer, specials: Specials) -> Any:
    cls, sep = specials.cls, specials.sep
    return _borders(tokenizer, f"{cls} $A {sep}", f"{cls} $A {sep} {sep} $B {sep}", cls, sep)


def _borders(tokenizer: Tokenizer, single: str, pair: str, *specials: str) -> Any:
    ids = [(text, tokenizer.token_to_id(text)) for text in specials]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)


def _roberta_borders(tokenizer: Tokenizer, specials: Specials) -> Any:
    sep, cls = ((text, tokenizer.token_to_id(text) or 0) for text in (specials.sep, specials.cls))
    return processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=False)


# --- models --------------------------------------------------------------------------------------------------------

_DROPS = {"hidden_dropout_prob": DROPOUT, "attention_probs_dropout_prob": DROPOUT}
_DISTIL_DROPS = {"dropout": DROPOUT, "attention_dropout": DROPOUT, "seq_classif_dropout": 2 * DROPOUT}
_MODERN_DROPS = {f"{part}_dropout": DROPOUT for part in ("attention", "embedding", "mlp", "classifier")}
_OFFSET = {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1}  # positions count from behind the padding
_V1: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
_V2: dict[str, Any] = {
    **_V1,
    "position_buckets": 8,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
}
_DISTIL = {**_DISTIL_DROPS, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2}
_MODERN = {**_MODERN_DROPS, "local_attention": 8, "global_attn_every_n_layers": 2}

FAMILIES: dict[str, Family] = {
    "bert": Family(tf.BertConfig, tf.BertForMaskedLM, tf.BertModel, _word_piece, "BertTokenizer", _BERT),
    "roberta": Family(
        tf.RobertaConfig, tf.RobertaForMaskedLM, tf.RobertaModel, _roberta, "RobertaTokenizer", _ROBERTA, _OFFSET
    ),
    "albert": Family(
        tf.AlbertConfig,
        tf.AlbertForMaskedLM,
        tf.AlbertModel,
        _albert,
        "AlbertTokenizer",
        _ALBERT,
        {"embedding_size": 16},
    ),
    "deberta": Family(
        tf.DebertaConfig, tf.DebertaForMaskedLM, tf.DebertaModel, _deberta, "DebertaTokenizer", _BERT, _V1
    ),
    "deberta-own-head": Family(
        tf.DebertaConfig,
        tf.DebertaForMaskedLM,
        tf.DebertaModel,
        _deberta,
        "DebertaTokenizer",
        _BERT,
        {**_V1, "legacy": False},
    ),
    "deberta-v2": Family(
        tf.DebertaV2Config,
        tf.DebertaV2ForMaskedLM,
        tf.DebertaV2Model,
        _deberta_v2,
        "DebertaV2Tokenizer",
        _BERT,
        _V2,
    ),
    "deberta-v3-own-head": Family(
        tf.DebertaV2Config,
        tf.DebertaV2ForMaskedLM,
        tf.DebertaV2Model,
        _deberta_v2,
        "DebertaV2Tokenizer",
        _BERT,
        {**_V2, "legacy": False},
    ),
    "electra": Family(
        tf.ElectraConfig,
        tf.ElectraForMaskedLM,
        tf.ElectraModel,
        _word_piece,
        "BertTokenizer",
        _BERT,
        {"embedding_size": 16},
    ),
    "distilbert": Family(
        tf.DistilBertConfig,
        tf.DistilBertForMaskedLM,
        tf.DistilBertModel,
        _word_piece,
        "BertTokenizer",
        _BERT,
        _DISTIL,
    ),
    "xlmr": Family(
        tf.XLMRobertaConfig,
        tf.XLMRobertaForMaskedLM,
        tf.XLMRobertaModel,
        _xlmr,
        "XLMRobertaTokenizer",
        _ROBERTA,
        _OFFSET,
    ),
    "modernbert": Family(
        tf.ModernBertConfig,
        tf.ModernBertForMaskedLM,
        tf.ModernBertModel,
        _modernbert,
        "PreTrainedTokenizerFast",
        _BERT,
        _MODERN,
    ),
    "mpnet": Family(
        tf.MPNetConfig,
        tf.MPNetForMaskedLM,
        tf.MPNetModel,
        _mpnet,
        "MPNetTokenizer",
        _MPNET,
        {"max_position_embeddings": POSITIONS + 2},
    ),
}


POOLED = ("bert", "roberta", "albert", "xlmr", "mpnet")
"""The families whose published checkpoints hold a pooler."""


def build(name: str, folder: Path, *, cls: type[Any] | None = None, mask: bool = True) -> Path:
    """Writes a family's tiny model and its tokenizer into a folder, laid out as on the hub.

    Args:
        cls: another class of model than the one with the MLM head.
        mask: whether the tokenizer has a mask token.
    """
    family = FAMILIES[name]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = family.tokenizer(family.specials)
    tokenizer.save(str(folder / "tokenizer.json"))
    own: dict[str, Any] = {"tokenizer_class": family.tokenizer_class, **family.specials.names}
    if name == "modernbert":
        own["model_input_names"] = ["input_ids", "attention_mask"]
    if not mask:
        del own["mask_token"]
        own["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    model = _model(family, tokenizer, cls or family.model)
    model.save_pretrained(folder)
    if family.model is model.__class__ and name in POOLED:
        _add_pooler(model, folder)
    return folder


def _add_pooler(model: Any, folder: Path) -> None:
    """Adds to a checkpoint with an MLM head the pooler that the published one holds beside it, and no head reads."""
    tensors = load_file(folder / "model.safetensors")
    width, layer = model.config.hidden_size, "pooler" if isinstance(model, tf.AlbertForMaskedLM) else "pooler.dense"
    own = {"weight": torch.zeros(width, width), "bias": torch.zeros(width)}
    tensors |= {f"{model.base_model_prefix}.{layer}.{key}": tensor for key, tensor in own.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _model(family: Family, tokenizer: Tokenizer, cls: type[Any]) -> Any:
    """A tiny model, its biases and norms random too, so that a forgotten one shows."""
    options: dict[str, Any] = {
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.1,
    }
    if family.config not in (tf.DistilBertConfig, tf.ModernBertConfig):
        options |= _DROPS
    if family.config is not tf.DistilBertConfig:
        options |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    for special in ("cls", "sep", "pad"):
        options[f"{special}_token_id"] = tokenizer.token_to_id(getattr(family.specials, special))
    options |= {"bos_token_id": options["cls_token_id"], "eos_token_id": options["sep_token_id"]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = cls(family.config(**{**options, **family.options}))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()
