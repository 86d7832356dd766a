"""Loading a model and its tokenizer: from the hub, from a folder, from a package, or built at random.

The model's configuration tells its family. safetensors only; code from the hub never runs unless `trust_remote_code`
says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pet_cli.base import hub
from pet_cli.errors import UserError
from pet_cli.models import places, smollm2
from pet_cli.models.base import LanguageModel, Tokenized
from pet_cli.models.decoder_only import DecoderOnlyLM
from pet_cli.models.encoder_decoder import KINDS, T5LM, EncoderDecoderLM
from pet_cli.models.integrity import check_config, check_files, check_tokenizer, check_weights
from pet_cli.models.masked import MaskedLM
from pet_cli.models.pairs import RELATIONS, PairModel, relations_of

TINY_T5 = "~/.cache/pet/t5-tiny"


def pick_device(device: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU. Raises `UserError` for a device that is not there."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = device.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device={device}: no CUDA device is available here. Use device=cpu or device=auto.")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise UserError(f"device={device}: there are {torch.cuda.device_count()} CUDA devices here.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"device={device}: MPS is not available here. Use device=cpu or device=auto.")
    return torch.device(device)


def use_bf16(precision: str, device: torch.device) -> bool:
    """`auto` computes in bf16 on a CUDA device that has it, in float32 elsewhere; the weights stay float32."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bf16"


def load(
    name: str,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    device: str = "auto",
    precision: str = "auto",
    head: bool = True,
) -> LanguageModel:
    """Loads a language model by hub id, local folder, `embedded`, `smollm2` or `random`, as its family's class.

    Args:
        head: whether its language-model head is needed. Without, the body alone is loaded, whatever head stands on it
            in the checkpoint: that of a sentence encoder or a sequence classifier serves too.

    Raises:
        UserError: not found, hub out of reach, damaged or half there, of no known family, or no trained LM head.
    """
    target = pick_device(device)
    bf16 = use_bf16(precision, target)
    _quiet()
    with torch.random.fork_rng(devices=[]):  # transformers may draw weights before it reads them
        lm = _load(name, revision, trust_remote_code, target, bf16, head)
    lm.identity = (name, places.stamp(name), revision, trust_remote_code, str(target), bf16, head)
    return lm


def _load(
    name: str, revision: str | None, trust_remote_code: bool, target: torch.device, bf16: bool, head: bool
) -> LanguageModel:
    if name == "random":
        return _random(target, bf16, head)
    folder, source = _located(name)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    config = _config(name, source, options)
    family = _family(name, config, trust_remote_code)
    if folder.is_dir():  # only now, for a model of no known family is not mended by its files
        check_files(name, folder)
    model = _model(name, source, config, family, options, head)
    tokenizer = _tokenizer(name, source, options)
    check_tokenizer(name, model, tokenizer, padded=family is not _DECODER_ONLY)
    return family.cls(name, model, tokenizer, target, bf16)


def _located(name: str) -> tuple[Path, str]:
    """The folder of a model, which need not be there, and what transformers calls it. Raises `UserError`."""
    if name == "smollm2":
        folder = smollm2.converted()
    else:
        folder = places.EMBEDDED if name == "embedded" else Path(name).expanduser()
    source = str(folder) if folder.is_dir() else name
    if not folder.is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        advice = " `make t5 CORPUS=FOLDER` in a checkout pretrains it." if name == TINY_T5 else ""
        raise UserError(f"model.name={name}: no such folder.{advice}")
    if folder.is_dir():
        check_config(name, folder)
    else:
        hub.prepare()
    return folder, source


def load_pairs(
    name: str,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    device: str = "auto",
    precision: str = "auto",
) -> PairModel:
    """Loads an encoder with a head over pairs of texts: next-sentence prediction, or classes that are its relations.

    Raises:
        UserError: as `load`; a model without such a head.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    )

    target = pick_device(device)
    bf16 = use_bf16(precision, target)
    _quiet()
    advice = "Choose one, such as model=bert_base, or pretrain one: scripts/pretrain.py --objective mlm+nsp."
    if name == "random":
        raise UserError(f"model.name={name}: it has no next-sentence head. {advice}")
    folder, source = _located(name)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    config = _config(name, source, options)
    relations = relations_of(config.id2label)
    auto, known = "AutoModelForNextSentencePrediction", MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING
    if relations:
        auto, known = "AutoModelForSequenceClassification", MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if type(config) not in known or _family(name, config, trust_remote_code) is not _MASKED:
        raise UserError(f"model.name={name}: model type '{config.model_type}' has no next-sentence head. {advice}")
    if folder.is_dir():
        check_files(name, folder)
    with torch.random.fork_rng(devices=[]):
        model, report = _read(name, source, config, auto, options)
    missing = sorted(key for key in report["missing_keys"] if "position_ids" not in key)
    if missing and not any(key.startswith(f"{model.base_model_prefix}.encoder.") for key in missing):
        raise UserError(
            f"model.name={name}: the checkpoint has no trained next-sentence head ({len(missing)} weights missing, "
            f"such as {missing[-1]}). {advice}"
        )
    check_weights(name, model, report, "next-sentence head", advice)
    tokenizer = _tokenizer(name, source, options)
    check_tokenizer(name, model, tokenizer, padded=True)
    body = MaskedLM(name, model.base_model, tokenizer, target, bf16)
    found = PairModel(name, model, body, relations or RELATIONS[:2])
    found.identity = (name, places.stamp(name), revision, trust_remote_code, str(target), bf16, "pairs")
    return found


def tokenized(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Tokenized | None:
    """A model's tokenizer alone, without its weights; None where it is not on this machine or cannot be read."""
    if name in ("random", "embedded"):
        return Tokenized(_tokenizer(name, str(places.EMBEDDED), {}), True, MaskedLM.room)
    folder = places.folder_of(name)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code, "local_files_only": True}
    try:
        source = str(folder or name)
        family = _family(name, _config(name, source, options), trust_remote_code)
        return Tokenized(_tokenizer(name, source, options), family.cls.single_token_words, family.cls.room)
    except UserError:  # said when the model is loaded
        return None


def _config(name: str, source: str, options: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, **options)
    except Exception as error:  # whatever a configuration of another kind or version makes of it
        raise _unreachable(name, source, error) from None


@dataclass(frozen=True)
class _Family:
    """How a family is loaded.

    Attributes:
        cls: its class here.
        auto: the auto class of transformers.
        head: what its language-model head is called.
        body: the auto class of what needs no head, where the model with its head holds more than that.
    """

    cls: type[LanguageModel]
    auto: str
    head: str
    body: str | None = None


_MASKED = _Family(MaskedLM, "AutoModelForMaskedLM", "masked-LM head")
_DECODER_ONLY = _Family(DecoderOnlyLM, "AutoModelForCausalLM", "language-model head")


def _encoder_decoder(cls: type[EncoderDecoderLM]) -> _Family:
    body = "AutoModelForTextEncoding" if cls is T5LM else None  # the encoder alone, as sentence encoders publish it
    return _Family(cls, "AutoModelForSeq2SeqLM", "decoder or language-model head", body)


def _family(name: str, config: Any, trust_remote_code: bool) -> _Family:
    """The family of a configuration.

    Encoder-decoders come first, for BART stands among the masked LMs too; masked LMs next, for BERT stands among the
    causal ones too. A model whose code comes with it names its head in its own configuration.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    kind = str(config.model_type)
    if config.is_encoder_decoder or kind in KINDS:
        if kind not in KINDS:
            raise UserError(
                f"model.name={name}: encoder-decoders of type '{kind}' are not supported; those of the types "
                f"{', '.join(KINDS)} are."
            )
        return _encoder_decoder(KINDS[kind])
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        return _MASKED
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return _DECODER_ONLY
    if trust_remote_code:
        causal = _DECODER_ONLY.auto in (getattr(config, "auto_map", None) or {})
        return _DECODER_ONLY if causal and _MASKED.auto not in config.auto_map else _MASKED
    raise UserError(
        f"model.name={name}: model type '{kind}' has no masked-LM head in transformers, nor is it an encoder-decoder "
        "or a causal language model; choose a language model such as roberta-base."
    )


def _model(name: str, source: str, config: Any, family: _Family, options: dict[str, Any], head: bool) -> Any:
    body = None if head else family.body
    model, report = _read(name, source, config, body or family.auto, options)
    advice = "Choose a checkpoint with its language-model head."
    if family is _MASKED:
        advice = "A sentence encoder or a discriminator cannot fill a mask; choose a masked LM, or tuning=classifier."
    if family.body:
        advice += " An encoder alone serves tuning=classifier."
    bare = not head and model.base_model is not model
    check_weights(name, model, report, "encoder" if body else family.head, advice, needs_head=not bare)
    return model.base_model if bare else model


def _read(name: str, source: str, config: Any, auto: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A model by an auto class of transformers, and what that says of the loading."""
    import transformers

    try:
        model, report = getattr(transformers, auto).from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told by `check_weights`, in one line
            **options,
        )
    except Exception as error:  # safetensors, transformers and torch each have their own
        raise _unreachable(name, source, error) from None
    return model, report


def _tokenizer(name: str, source: str, options: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, **options)
    except Exception as error:  # a file of another version is told by many kinds of error
        if Path(source).is_dir():
            raise UserError(
                f"model.name={name}: the tokenizer in {source} cannot be read (damaged, or of another version): "
                f"{_first_line(error)}"
            ) from None
        raise _unreachable(name, source, error) from None
    if not tokenizer.is_fast:
        raise UserError(f"model.name={name}: its tokenizer has no fast version, which the offsets of a text need.")
    return tokenizer


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _unreachable(name: str, source: str, error: Exception) -> UserError:
    first = _first_line(error)
    if Path(source).is_dir():
        return UserError(f"model.name={name}: the folder cannot be loaded: {first}")
    if "safetensors" in first:
        return UserError(f"model.name={name}: no safetensors file; pickled weights are not loaded. {first}")
    if "is not a valid model identifier" in first or "is not a local folder" in first:
        return UserError(f"model.name={name}: neither a local folder nor a public model of the hub.")
    return UserError(
        f"model.name={name}: no such folder here, the hub cannot be reached, and the model is not in its cache. "
        "Give a local folder (model.name=PATH), or use model=embedded, which needs no network."
    )


def _random(device: torch.device, bf16: bool, head: bool) -> MaskedLM:
    """A tiny BERT with random weights, the same every time, and the embedded model's tokenizer."""
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = _tokenizer("embedded", str(places.EMBEDDED), {})
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        hidden_dropout_prob=0.1,  # as the published ones
        attention_probs_dropout_prob=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForMaskedLM(config)
    return MaskedLM("random", model if head else model.base_model, tokenizer, device, bf16)


def _quiet() -> None:
    """Leaves progress and warnings to us."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
