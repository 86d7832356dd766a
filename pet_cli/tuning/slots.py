"""The soft slots of a template: taken as words, put in front, and what their vectors start as.

Initialisation follows Lester et al. (EMNLP 2021): random, frequent tokens, or the label words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pet_cli.base.tensors import read_tensors
from pet_cli.errors import UserError, not_allowed
from pet_cli.models.base import LanguageModel
from pet_cli.prompts.encoder import PromptEncoder, word_ids
from pet_cli.prompts.template import Part, Soft, Template, Text, source_of

INITS = ("random", "vocab", "labels", "text")
FREQUENT = 5000
"""`vocab` draws from this many tokens of the lowest ids, which the most frequent tokens have."""


def hard_template(template: Template, tuning: str, leave_out: bool = False) -> Template:
    """The template with soft slots as the words they start as, for modes that train no prompt.

    Args:
        leave_out: whether slots without words are left out, instead of being an error.

    Raises:
        UserError: a slot without words, which says nothing until it is trained.
    """
    if not template.soft:
        return template
    parts: list[Part] = []
    for part in template.parts:
        if not isinstance(part, Soft):
            parts.append(part)
        elif part.text is not None:
            parts.append(Text(part.text))
        elif not leave_out:
            raise UserError(
                f"tuning={tuning}: template '{template.source}' has pseudo tokens without words, which say nothing "
                'untrained. Use tuning=soft_prompt or p_tuning, or give them words, such as {soft:"It was"}.'
            )
        elif parts and isinstance(parts[-1], Text):  # one of the spaces around it goes with it
            parts[-1] = Text(parts[-1].text.rstrip())
    if isinstance(template.parts[0], Soft) and isinstance(parts[0], Text):
        parts[0] = Text(parts[0].text.lstrip())
    return Template(source_of(parts), tuple(parts))


def soft_template(template: Template, tuning: str, length: int | None) -> Template:
    """The template as it is where it has soft slots, else with `length` of them in front.

    Raises:
        UserError: the template has no soft slot and `length` is None.
    """
    if template.soft:
        return template
    if length is None:
        raise UserError(
            f"tuning={tuning}: template '{template.source}' has no soft slot and tuning.length is null. Write "
            f"'{{soft*20}} {template.source}', or leave tuning.length=20 to put them in front."
        )
    if length < 1:
        raise UserError(f"tuning.length={length}: must be at least 1.")
    front: tuple[Part, ...] = (Soft(length), Text(" "))
    return Template(source_of(front) + template.source, front + template.parts)


def look_up(lm: LanguageModel, ids: Sequence[int]) -> Tensor:
    """Input embeddings of tokens, `[tokens, embedding]`, scaled as the model scales them."""
    with torch.no_grad():
        return lm.model.get_input_embeddings()(torch.tensor(ids, device=lm.device)).clone()  # type: ignore[no-any-return]


def embedding_scale(lm: LanguageModel) -> float:
    """The root mean square of the input embeddings of frequent words."""
    return float(look_up(lm, frequent_tokens(lm.tokenizer)).float().square().mean().sqrt())


def check_init(init: str, text: str | None, file: Path | None = None) -> None:
    """Raises `UserError` for an unknown initialisation, which is no file either, and for `text` without a text."""
    if init not in INITS and (file is None or not file.is_file()):
        raise not_allowed("tuning.init", init, INITS)
    if init == "text" and not (text or "").strip():
        raise UserError("tuning.init=text: the text is empty; give it as tuning.text='...'.")


def initial_vectors(
    lm: LanguageModel, encoder: PromptEncoder, init: str, text: str | None, label_words: Sequence[Sequence[int]]
) -> Tensor:
    """What the trainable vectors of a template start as, `[slots, embedding]`.

    Slots with words in the template start as those. The others:

    * `random`: normal, of the size of the model's own embeddings;
    * `vocab`: tokens drawn from the `FREQUENT` most frequent ones, each once;
    * `labels`: the label words, the mean of its tokens for each, then as `vocab`;
    * `text`: the tokens of `tuning.text`, then as `vocab`.

    Draws come from the global generator, which the trainer's seed has set.

    Args:
        label_words: the token ids of each label word.
    """
    free = [slot for slot in range(encoder.slots) if slot not in encoder.slot_texts]
    frequent = frequent_tokens(encoder.tokenizer)
    drawn = [frequent[i] for i in torch.randperm(len(frequent)).tolist()]
    fill = [drawn[i % len(drawn)] for i in range(len(free))]
    vectors = look_up(lm, [encoder.slot_texts.get(slot, fill[0] if fill else 0) for slot in range(encoder.slots)])
    if not free:
        return vectors
    if init == "random":
        noise = torch.randn(len(free), vectors.shape[1]).to(vectors)  # drawn on the CPU: the same anywhere
        vectors[free] = noise * embedding_scale(lm)
        return vectors
    own = look_up(lm, fill)
    first: list[Tensor] = []
    if init == "labels":
        first = [look_up(lm, ids).mean(dim=0) for ids in label_words]
    elif init == "text":
        first = list(look_up(lm, word_ids(encoder.tokenizer, (text or "").strip())))
    for index, vector in enumerate(first[: len(free)]):
        own[index] = vector
    vectors[free] = own
    return vectors


def trained_vectors(lm: LanguageModel, encoder: PromptEncoder, path: Path) -> Tensor:
    """Vectors that another run has trained on the same model, `[slots, embedding]`, to start from.

    Raises:
        UserError: a file without such vectors, of another model, or of another number of them than the template has.
    """
    try:
        tensors, metadata = read_tensors(path)
    except UserError as error:
        raise UserError(f"tuning.init: {error}") from None
    vectors, width = tensors.get("vectors"), lm.model.get_input_embeddings().weight.shape[1]
    if vectors is None or vectors.ndim != 2:
        raise UserError(f"tuning.init={path}: it holds no prompt vectors, as tuning=soft_prompt saves them.")
    if vectors.shape[1] != width:
        raise UserError(f"tuning.init={path}: its vectors have width {vectors.shape[1]}, those of {lm.name} {width}.")
    if metadata.get("model") != lm.fingerprint():
        raise UserError(f"tuning.init={path}: it was trained on another model than model.name={lm.name}.")
    if len(vectors) != encoder.slots:
        raise UserError(
            f"tuning.init={path}: it holds {len(vectors)} vectors, and template '{encoder.template.source}' has "
            f"{encoder.slots}; give as many, such as tuning.length={len(vectors)}."
        )
    return vectors.to(look_up(lm, [0]))


def frequent_tokens(tokenizer: object, count: int = FREQUENT) -> list[int]:
    """Ids of the `count` whole words of the lowest ids; of all tokens where the vocabulary has hardly any words."""
    size = min(len(tokenizer), 8 * count)  # type: ignore[arg-type]
    special = set(tokenizer.all_special_ids)  # type: ignore[attr-defined]
    tokens = tokenizer.convert_ids_to_tokens(list(range(size)))  # type: ignore[attr-defined]
    words = [
        index
        for index, token in enumerate(tokens)
        if index not in special and token is not None and len(token.strip("Ġ▁")) > 1 and token.strip("Ġ▁").isalpha()
    ]
    if len(words) < 20:
        words = [index for index in range(size) if index not in special]
    return words[:count]
