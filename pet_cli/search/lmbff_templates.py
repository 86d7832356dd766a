"""LM-BFF's templates (Gao et al., ACL 2021, section 5.2): what a T5 writes around the label word.

It reads each training example with its label word between two of its sentinels, and a beam search finds
what stands in their place, likely in all examples at once:

    {text} <X> great <Y>      ->  {text}X {mask}Y           <X> great <Y> {text}      ->  X {mask}Y {text}
    {a} <X> yes <Y> {b}       ->  {a}X {mask}Y {b}          where there are several texts

The prompted model then tries all of them, the likeliest of each layout first, and cross-validation chooses where a
development set does there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest

from pet_cli.models.encoder_decoder import T5LM
from pet_cli.prompts.batch import Prompt
from pet_cli.prompts.encoder import PromptEncoder
from pet_cli.prompts.template import Template, Text, source_of
from pet_cli.search.base import Candidate, Search
from pet_cli.search.generator import Read, continuation, load_generator, longest_input, shared_out, writable
from pet_cli.search.joint import Joint, Spans, likely_spans

_WANTED = (
    "search=lmbff writes with a T5's sentinels: name one, such as t5_tiny, or let search=lm ask a decoder-only model"
)
_JOINED = "([{\"'“‘-/"
"""Characters behind which a word follows without a space."""


class LmbffTemplates(Search):
    """Proposes the templates that a T5 finds likely between the texts and label words of all examples."""

    @cached_property
    def generator(self) -> T5LM:
        return load_generator(self.settings.generator, self.config, self.bench.context.session, T5LM, _WANTED)

    def prepare(self) -> None:
        self.generator  # noqa: B018  # loaded, or refused, before the hand-written are scored

    def run(self) -> None:
        layouts = list(self.layouts())
        read = shared_out(self.config, self.looked.train, self.settings.examples)
        lm = self.generator
        written: list[list[Candidate]] = []
        with self.bench.context.progress.stage("generate", len(layouts)) as advance:
            for number, (place, before, behind) in enumerate(layouts, 1):
                share = number / (2 * len(layouts))  # of the minutes, so that half of them are left for scoring
                found = self.spans(lm, before, behind, read, self.bench.seconds * (1 - share))
                each = [f"{place}, {one.score / len(read):.1f} nats an example" for one in found]
                lines = [self.template(lm, before, behind, *one.spans) for one in found]
                written.append([Candidate(line, origin) for line, origin in zip(lines, each, strict=True)])
                advance(1)
        self.bench.score(one for several in zip_longest(*written) for one in several if one is not None)

    def layouts(self) -> Iterator[tuple[str, str, str]]:
        """Where the label word may stand: a name, and the templates of the texts before and behind it."""
        first, *rest = list(self.config.task.fields)
        texts = self.space.join(f"{{{name}}}" for name in (first, *rest))
        if rest:
            others = self.space.join([f"{{{rest[0]}:lower}}", *(f"{{{name}}}" for name in rest[1:])])
            yield "between", f"{{{first}:strip}}", others
        yield "behind", texts, ""
        yield "before", "", texts

    def spans(self, lm: T5LM, before: str, behind: str, read: Read, left: float) -> list[Spans]:
        """What the generator writes between texts, the likeliest first.

        Args:
            read: the examples that it reads, as `shared_out` has them.
            left: it stops when fewer than so many seconds are left of the budget.
        """
        settings, clock = self.settings, self.bench.context.clock
        with clock.phase("generate"):
            prompts = self._prompts(lm, before, behind, read)
            joint = Joint(lm, prompts, [0] * len(prompts), settings.width)
            return likely_spans(
                joint,
                lm.sentinels(3)[1:],
                writable(lm.tokenizer, len(lm.projection[0])),
                settings.width,
                settings.longest,
                lambda: not self.bench.left < left,  # without a budget both are infinite
            )

    def _prompts(self, lm: T5LM, before: str, behind: str, read: Read) -> list[Prompt]:
        """The examples as the generator reads them, the label word of each between the first two sentinels."""
        second = lm.sentinels(2)[1]
        most = longest_input(self.config, lm, self.settings.longest)
        rows = self.looked.train.rows
        prompts: list[Prompt] = []
        for label, words in enumerate(self.words.values()):
            word = source_of([Text(next(iter(words)))])
            line = self.space.join(part for part in (before, "{mask}", word, "{mask}", behind) if part)
            encoder = PromptEncoder(lm.tokenizer, lm.adapt(Template.parse(line)), most, lm.mask_token)
            for prompt in encoder.encode([rows[place] for place, own in read if own == label]):
                ids = list(prompt.ids)
                ids[prompt.masks[1]] = second
                prompts.append(replace(prompt, ids=ids))
        return prompts

    def template(self, lm: T5LM, before: str, behind: str, left: Sequence[int], right: Sequence[int]) -> str:
        """The template of what was written on both sides of the label word."""
        own = continuation(lm.tokenizer, left) if before else continuation(lm.tokenizer, left).lstrip()
        joined = (own or before)[-1:] in ("", " ", *_JOINED)
        line = f"{before}{own}{'' if joined else self.space}{{mask}}{continuation(lm.tokenizer, right)}"
        return f"{line.rstrip()}{self.space}{behind}" if behind else line.strip()
