"""`pet show`: one text as the model reads it, and what the model would fill in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pet_cli.config.build import option
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Example
from pet_cli.data.fields import fields_of
from pet_cli.data.tables import candidates
from pet_cli.errors import UserError


def show(texts: list[str] | None, row: int, overrides: Sequence[str], config_dir: str | None = None) -> int:
    """Prints the prompt's text, tokens and segments, the top words at the mask, and the label scores."""
    from pet_cli.commands.compose import compose

    config = compose(overrides, config_dir)
    if not config.method.tunes:
        raise UserError(f"method={config.method.name}: it fills no mask, and has no prompt to show.")
    if not config.tuning.uses_prompt:
        raise UserError(f"tuning={config.tuning.name}: it has no prompt to show.")
    from pet_cli.runs.session import Session

    session = Session()
    _print(config, _example(config, texts, row, session), session)
    return 0


def _example(config: PetConfig, texts: list[str] | None, row: int, session: object) -> Example:
    from pet_cli.runs.session import Session

    assert isinstance(session, Session)
    if texts:
        fields = fields_of(config.task, texts)
        return Example(0, fields, None, candidates(fields, config.task, "--text"))
    alone = replace(config, tuning=option("tuning", "zero_shot"))  # the test split alone is looked at
    examples = session.splits(alone)["test"].examples
    if not 0 <= row < len(examples):
        raise UserError(f"--row {row}: the test split has rows 0 to {len(examples) - 1}.")
    return examples[row]


def _print(config: PetConfig, example: Example, session: object) -> None:
    import torch

    from pet_cli.commands.tables import console, plain_table
    from pet_cli.methods.prompted import build_learner
    from pet_cli.methods.prompted import show as show_demonstrations
    from pet_cli.runs.session import Session
    from pet_cli.tuning import PromptLearner

    assert isinstance(session, Session)
    if not config.tuning.vectors:
        config.tuning = option("tuning", "zero_shot")
    lm = session.language_model(config)
    torch.manual_seed(config.trainer.seed)  # what trainable tokens start as
    learner = build_learner(config, lm, session)
    assert isinstance(learner, PromptLearner)
    if config.demonstrations.per_label:
        show_demonstrations(config, learner, session.splits(config)["train"])
    encoded = learner.encode([example.fields], candidates=[example.candidates] if example.candidates else None)
    prompt = encoded.prompts[0]
    out = console()
    out.print(f"template  {learner.template.source}")
    batch = lm.collate([prompt])  # what the model reads: of a decoder-only model's prompt, the part up to the mask
    ids, types = batch.input_ids[0].tolist(), batch.token_type_ids[0].tolist()
    slots = [-1] * len(ids) if batch.soft is None else batch.soft[0].tolist()
    tokens = [
        token if slot < 0 else f"{{soft {slot}}}"
        for token, slot in zip(lm.tokenizer.convert_ids_to_tokens(ids), slots, strict=True)
    ]
    hard = [index for index, slot in zip(ids, slots, strict=True) if slot < 0]
    out.print(f"prompt    {lm.tokenizer.decode(hard)}")
    for segment in sorted(set(types)):
        name = f"tokens {'AB'[segment]}" if len(set(types)) > 1 else "tokens"
        own = [token for token, kind in zip(tokens, types, strict=True) if kind == segment]
        out.print(f"{name:<9} {' '.join(own)}")
    cut = f", {prompt.cut} cut" if prompt.cut else ""
    cut += f", no room for {prompt.lacks} demonstrations" if prompt.lacks else ""
    place = (
        "the answer behind the last" if lm.family == "decoder_only" else f"mask at {', '.join(map(str, prompt.masks))}"
    )
    out.print(f"length    {len(ids)} tokens, {place}{cut}")
    if batch.soft is not None:
        soft = " ".join(str(position) for position, slot in enumerate(slots) if slot >= 0)
        out.print(f"soft at   {soft} (as they start, before any training)")
    answers = learner.answers if encoded.candidates is None else encoded.candidates[0]
    several = answers.longest > 1
    with learner.asking():
        logits = lm.word_scores(lm.states(batch, learner.embeds(batch))[0, 0], None)
        top = logits.softmax(0).topk(8)
        words = [lm.tokenizer.decode([i]).strip() for i in top.indices.tolist()]
        shown = ", ".join(f"{word} {p:.3f}" for word, p in zip(words, top.values.tolist(), strict=True))
        out.print(f"top words {shown}")
        if several:
            scores = lm.score_answers(batch, answers, learner.embeds(batch))[0]
        else:
            scores = logits.log_softmax(0)[lm.tokens(answers).first]
        probabilities = scores.exp().tolist()
        label_scores = learner.label_scores(encoded, [0]).softmax(dim=1)[0].tolist()
    of = "per token" if several and answers.mean else "in the vocabulary"
    if example.candidates:
        table = plain_table("candidate", "tokens", f"probability {of}", "probability")
        for text, answer, own, share in zip(example.candidates, answers.ids, probabilities, label_scores, strict=True):
            pieces = " ".join(lm.tokenizer.convert_ids_to_tokens(list(answer)))
            table.add_row(text, pieces, f"{own:.2g}", f"{share:.3f}")
        out.print(table)
        return
    table = plain_table("label", f"words (probability {of})", "probability")
    flat = list(zip(learner.verbalizer.owners, learner.verbalizer.flat, probabilities, strict=True))
    for index, label in enumerate(learner.labels):
        own_words = ", ".join(f"{word} {p:.2g}" for owner, word, p in flat if owner == index)
        table.add_row(label, own_words, f"{label_scores[index]:.3f}")
    out.print(table)
