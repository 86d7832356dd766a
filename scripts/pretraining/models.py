"""The models: new ones, how they start, and those of a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError

from .pairs import model_class, named
from .text import SENTINELS, UserError

hf: Any = transformers  # its types hinder more than they help here


def new_model(tokenizer: Any, args: argparse.Namespace) -> Any:
    """A model with random weights, in float32."""
    if args.objective != "spans":
        build = hf.BertForMaskedLM if args.objective == "mlm" else model_class(args.relations)
        return build(hf.BertConfig(
            vocab_size=len(tokenizer), hidden_size=args.hidden, num_hidden_layers=args.layers,
            num_attention_heads=args.heads, intermediate_size=args.intermediate, pad_token_id=tokenizer.pad_token_id,
            max_position_embeddings=args.max_positions, hidden_dropout_prob=args.dropout,
            attention_probs_dropout_prob=args.dropout, **named(args.relations),
        ))  # fmt: skip
    return hf.T5ForConditionalGeneration(hf.T5Config(
        vocab_size=len(tokenizer), d_model=args.hidden, d_kv=args.hidden // args.heads, d_ff=args.intermediate,
        num_layers=args.layers, num_decoder_layers=args.decoder_layers, num_heads=args.heads,
        feed_forward_proj="gated-gelu", tie_word_embeddings=True, dropout_rate=args.dropout,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    ))  # fmt: skip


def load_model(folder: Path, args: argparse.Namespace) -> tuple[Any, Any, set[str]]:
    """Model (float32) and tokenizer of a folder, and which of its heads are new: `mlm`, where the folder held an
    encoder only, and `pairs`, where it has no pooler, so that nothing of it has ever told a relation."""
    mlm, pairs = args.objective != "spans", args.objective == "mlm+nsp"
    family, auto = ("bert", hf.AutoModelForMaskedLM) if mlm else ("t5", hf.AutoModelForSeq2SeqLM)
    auto = model_class(args.relations) if pairs else auto
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json")
    try:
        config = hf.AutoConfig.from_pretrained(folder, local_files_only=True)
        if config.model_type != family:
            raise UserError(f"--objective {args.objective} needs a {family} model; {folder} is a {config.model_type}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob") if mlm else ("dropout_rate",):
            setattr(config, name, args.dropout)
        for name, value in named(args.relations).items() if pairs else ():
            setattr(config, name, value)
        tokenizer = hf.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model, info = auto.from_pretrained(
            folder, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"cannot load {folder}: {str(error).splitlines()[0]}") from error
    new = ("cls.predictions.", *(("bert.pooler.", "cls.seq_relationship.", "classifier.") if pairs else ()))
    lacking = [name for name in info["missing_keys"] if not name.startswith(new)]
    needed = ["[CLS]", "[SEP]", "[MASK]", "[PAD]"] if mlm else ["</s>", "<pad>", *SENTINELS]
    lacking += [token for token in needed if token not in tokenizer.get_vocab()]
    if lacking:
        raise UserError(f"{folder} lacks {', '.join(lacking[:3])}: it cannot be trained with {args.objective}")
    if mlm and args.block > config.max_position_embeddings:
        raise UserError(f"--block {args.block}: {folder} has {config.max_position_embeddings} positions only")
    heads = {"mlm": "cls.predictions.transform.dense.weight", "pairs": "bert.pooler.dense.weight"}
    return model, tokenizer, {head for head, weight in heads.items() if weight in info["missing_keys"]}


def looks(buckets: int, heads: int, both_ways: bool) -> torch.Tensor:
    """Relative attention biases [buckets, heads]: the heads look left, right, around and anywhere by turns, the less
    the further it is (a bucket's number is the distance, for large ones its logarithm)."""
    side = buckets // 2 if both_ways else buckets  # T5 numbers what lies at and before a token first, then the rest
    far = torch.arange(side, dtype=torch.float32)
    left, not_there = -far, torch.full((side,), -6.0)
    left[0] = -2.0  # the token itself comes along beside the attention anyway
    kinds = [(left, not_there), (not_there, -far), (-far / 2, -far / 2), (0 * far, 0 * far)]
    if not both_ways:
        kinds = [(kinds[0 if kind == 1 else kind][0],) for kind in range(4)]
    return torch.stack([torch.cat(kinds[head % 4]) for head in range(heads)], dim=1)


def like_words(folder: Path, tokenizer: Any, width: int) -> torch.Tensor:
    """Embeddings [V, width] of unit size in which pieces lie as the same text does in the BERT of `folder`: the mean
    of its pieces there, cut to the `width` principal directions. A sentinel is [MASK] at half the size."""
    if not (folder / "config.json").is_file():
        raise UserError(f"--embeddings: {folder} is not a model folder: it has no config.json")
    try:
        words = hf.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        bert = hf.AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True, add_pooling_layer=False)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise UserError(f"--embeddings: cannot load {folder}: {str(error).splitlines()[0]}") from error
    known, table = words.get_vocab(), bert.get_input_embeddings().weight.detach()
    if table.shape[1] < width:
        raise UserError(f"--embeddings: {folder} has {table.shape[1]} dimensions, fewer than the {width} of words here")
    special = {tokenizer.eos_token: words.sep_token_id, tokenizer.unk_token: words.unk_token_id}
    special |= dict.fromkeys(SENTINELS, words.mask_token_id)

    def ids(piece: str) -> list[int]:
        text = piece.lstrip("▁")
        if piece in special:
            return [special[piece]]
        if not piece.startswith("▁") and f"##{text}" in known:
            return [known[f"##{text}"]]
        return words(text, add_special_tokens=False).input_ids or [words.pad_token_id]

    rows = torch.stack([table[ids(piece)].mean(0) for piece in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))])
    rows -= rows.mean(0)
    rows = rows @ torch.linalg.svd(rows, full_matrices=False).Vh[:width].T
    # Turned at random: else a few dimensions hold most of it, and attention would look at these alone.
    rows = rows @ torch.linalg.qr(torch.randn(width, width)).Q
    rows /= rows.square().mean().sqrt()
    sentinels = tokenizer.convert_tokens_to_ids(SENTINELS)
    rows[sentinels] /= 2 * rows[sentinels].square().mean().sqrt()
    return rows


@torch.no_grad()
def start_spans(model: Any, tokenizer: Any, args: argparse.Namespace) -> None:
    """A small budget would go by on a plateau where a new T5 knows how common each word is and no more: its decoder
    finds no way to the places it has to fill. So it begins as one that looks at them and passes on what it sees:

    - An eighth of the dimensions are badges: random numbers by which a sentinel is known, nothing in words. No layer
      reads them as content or writes to them yet, and the decoder's last norm keeps them low, as the embeddings are
      also the output's: a sentinel that is known by its word dimensions would foretell itself.
    - The cross-attention compares badges first, and words a little. It returns half of what it attends to, the
      encoder's self-attention a quarter (after Trockman & Kolter, ICML 2023).
    - Self-attention falls with the distance, as in ALiBi (Press et al., ICLR 2022): `looks`.
    - Embeddings and what layers add are small, so that both soon count; the decoder's last norm makes up for it.
    - With --embeddings, words that are alike begin alike.
    """
    words = args.hidden - args.hidden // 8
    for name, weight in model.named_parameters():
        if name.endswith((".o.weight", ".wo.weight")):
            weight.mul_(0.1)
            weight[words:] = 0
    table = model.shared.weight
    if args.embeddings:
        table[:, :words] = like_words(args.embeddings, tokenizer, words)
    table.mul_(0.05)
    table[:, words:] = 0
    sentinels = tokenizer.convert_tokens_to_ids(SENTINELS)
    table[sentinels, words:] = torch.randn(len(sentinels), args.hidden - words)
    norm = model.decoder.final_layer_norm.weight
    norm[:words], norm[words:] = args.hidden**0.5, 1.0
    for stack, both_ways in ((model.encoder, True), (model.decoder, False)):
        bias = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        bias.copy_(looks(*bias.shape, both_ways))
    cross = [block.layer[1].EncDecAttention for block in model.decoder.block]
    for attention in cross:
        torch.nn.init.orthogonal_(attention.k.weight)
        # T5 divides by nothing. A state of unit size has a score of 7 for itself, 5 of it by its badges.
        attention.q.weight.copy_(attention.k.weight * 8 / model.config.d_kv)
        attention.q.weight[:, :words] *= 0.3
        attention.q.weight[:, words:] *= 5
    among = [block.layer[0].SelfAttention for block in model.encoder.block]
    for attention, share in [(attention, 0.25) for attention in among] + [(attention, 0.5) for attention in cross]:
        torch.nn.init.orthogonal_(attention.v.weight)
        attention.v.weight[:, words:] = 0
        attention.o.weight.copy_(share * attention.v.weight.T)


@torch.no_grad()
def start_head(model: Any, ids: np.ndarray, identity: bool) -> None:
    """A new BERT head guesses by frequency at first. On a trained encoder its transform passes vectors on as they
    are, since they lie near the word embeddings already, with which they are compared."""
    counts = np.bincount(ids, minlength=model.config.vocab_size) + 1
    model.cls.predictions.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
    if identity:
        torch.nn.init.eye_(model.cls.predictions.transform.dense.weight)
        torch.nn.init.zeros_(model.cls.predictions.transform.dense.bias)
