"""Mined templates: what stands between texts and label words where people wrote them (Jiang et al., TACL 2020).

There a relation's prompt is what stands between a subject and its object in a corpus. Here the subject is the text that
goes before or follows, and the object a label word:

    The acting is wooden . All in all it was terrible .      ->  {text} All in all it was {mask}.
    It was great ! We shall go again .                       ->  It was {mask}! {text}
    Is the bridge closed ? No , cars are on it .             ->  {a:strip}? {mask}, {b:lower}   for a pair of texts

A context counts with the label whose word stands in it. What stands with the words of all labels says nothing of one
label itself, so contexts are ranked by the sum over labels of log(1 + how often).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pet_cli.config.resolve import labels
from pet_cli.data.words import LETTERS, MARKS
from pet_cli.errors import UserError
from pet_cli.prompts.template import Text, source_of
from pet_cli.search.base import Candidate, Search
from pet_cli.search.bench import Spent
from pet_cli.search.corpus import lines, text_files
from pet_cli.verbalizers.words import parse_words

_WORD = re.compile(rf"[\u3040-\u30ff\u3400-\u9fff]|{LETTERS}(?:['’]{LETTERS})*|[^\w\s][{MARKS}]*")
_SENTENCE_END = re.compile(r"[.!?。！？…]+(?=\s|$)|[。！？]")
_SHORTEST = 3
"""The fewest words of what counts as a text beside a label word."""
_LETTER = r"[^\W\d_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
"""A letter that none of a word's own stands beside; Thai, kana, Chinese characters and Hangul may."""
_MARK = re.compile(r"\s*[,.:;!?，。：；！？…]")
_CHECK_EVERY = 5000
"""Lines between two looks at the clock."""


@dataclass(frozen=True)
class Context:
    """What stands around a label word.

    Attributes:
        left: the text before the word, with the space between them; `right` the text behind it.
        place: where they stand, `behind` or `before` the text that they belong to, or `between` two, where the mark
            that ends the first is part of `left`.
    """

    left: str
    right: str
    place: str


class Mining(Search):
    """Proposes the contexts that are commonest with the words of all labels."""

    def run(self) -> None:
        found = list(self.candidates(self.count(self._lines())))
        if not found:
            if self.bench.left < self.bench.seconds / 2:
                raise Spent("minutes")
            told = "; ".join(f"{label}: {next(iter(own))} …" for label, own in self.words.items())
            raise UserError(
                f"search=mining: nothing stands around words of several labels ({told}) in this text; give more of it, "
                "search.corpus=FOLDER."
            )
        self.bench.score(found)

    def _lines(self) -> Iterable[str]:
        if self.settings.corpus is not None:
            return lines(text_files(self.settings.corpus))
        if not len(self.looked.unlabeled):
            raise UserError(
                "search=mining needs text to mine in: give search.corpus=FOLDER, a file named unlabeled, or "
                "data.unlabeled=train."
            )
        return (" ".join(row.values()) for row in self.looked.unlabeled.rows)

    @property
    def _pair(self) -> bool:
        return len(self.config.task.fields) == 2

    @property
    def label_words(self) -> dict[str, int]:
        """Each word of the task's verbalizers and of the run's own, with its label's index."""
        names = labels(self.config)
        verbalizers = [self.words, *(parse_words(one, names) for one in self.config.task.verbalizers)]
        return {word: names.index(label) for one in verbalizers for label, own in one.items() for word in own}

    def count(self, texts: Iterable[str]) -> dict[Context, Counter[int]]:
        """How often each context stands around the words of each label."""
        owner = self.label_words
        words = sorted(owner, key=len, reverse=True)
        # Each is a group: whatever letters count as equal here (İ and i, ſ and s), the group tells whose word it is.
        either = "|".join(f"({re.escape(own)})" for own in words)
        word = re.compile(rf"(?<!{_LETTER})(?:{either})(?!{_LETTER})", re.IGNORECASE)
        found: dict[Context, Counter[int]] = defaultdict(Counter)
        with self.bench.context.clock.phase("mine"):
            for number, text in enumerate(texts):
                if number % _CHECK_EVERY == 0 and self.bench.left < self.bench.seconds / 2:
                    break
                for match in word.finditer(text):
                    label = owner[words[match.lastindex - 1]]  # type: ignore[operator]  # one of them has matched
                    place = (text, match.start(), match.end(), self.settings.longest)
                    for context in (*contexts(*place), *(joints(*place) if self._pair else ())):
                        if not word.search(context.left) and not word.search(context.right):
                            found[context][label] += 1
        return found

    def candidates(self, counts: dict[Context, Counter[int]]) -> Iterator[Candidate]:
        """The best contexts of several labels' words as templates, the commonest spelling of each."""
        spellings: dict[tuple[str, str, str], list[Context]] = defaultdict(list)
        for context in counts:
            spellings[(context.left.lower(), context.right.lower(), context.place)].append(context)
        ranked = []
        for same in spellings.values():
            together = sum((counts[one] for one in same), Counter[int]())
            if len(together) < 2:
                continue
            worth = sum(math.log1p(n) for n in together.values())
            commonest = max(same, key=lambda one: (counts[one].total(), one.left, one.right))
            ranked.append((-worth, commonest.left, commonest.right, commonest, together))
        ranked.sort(key=lambda one: one[:3])
        for *_, context, together in ranked[: self.settings.contexts]:
            yield Candidate(self.template(context), f"mined, {together.total()} times")

    def template(self, context: Context) -> str:
        cloze = f"{source_of([Text(context.left)])}{{mask}}{source_of([Text(context.right)])}"
        fields = list(self.config.task.fields)
        if context.place == "between":
            lower = "" if _SENTENCE_END.match(context.right[-1:]) else ":lower"
            return f"{{{fields[0]}:strip}}{cloze}{self.space}{{{fields[1]}{lower}}}"
        texts = self.space.join(f"{{{name}}}" for name in fields)
        return f"{texts}{self.space}{cloze}" if context.place == "behind" else f"{cloze}{self.space}{texts}"


def contexts(text: str, start: int, end: int, longest: int) -> Iterator[Context]:
    """The contexts of a label word that stands in a text from `start` to `end`.

    Behind a text: up to `longest` words before the word, where at most one word and the sentence's end follow it.
    Before a text: where at most `longest` words before it begin the sentence, likewise, and more sentences follow.
    """
    stop = _SENTENCE_END.search(text, end)
    last = stop.end() if stop else len(text)
    right = text[end:last]
    if len(_WORD.findall(right)) > 2:
        return
    if stop is None:
        right += "."
    begins = max((one.end() for one in _SENTENCE_END.finditer(text, 0, start)), default=0)
    before = list(_WORD.finditer(text, begins, start))
    for n in range(1, min(longest, len(before)) + 1):
        first = before[-n].start()
        if _is_text(text[:first]) and before[-n].group()[0].isalnum():
            yield Context(_plain(text[first:start]), _plain(right), "behind")
    if not before and _is_text(text[:start]):
        yield Context("", _plain(right), "behind")
    if len(before) <= longest and _is_text(text[last:]):
        yield Context(_plain(text[begins:start].lstrip()), _plain(right), "before")


def joints(text: str, start: int, end: int, longest: int) -> Iterator[Context]:
    """The context of a label word between two texts.

    It begins a sentence behind another, with at most `longest` words before it, and a mark and a text follow.
    """
    stop = max(_SENTENCE_END.finditer(text, 0, start), key=lambda one: one.end(), default=None)
    mark = _MARK.match(text, end)
    if stop is None or mark is None or len(_WORD.findall(text[stop.end() : start])) > longest:
        return
    if _is_text(text[: stop.start()]) and _is_text(text[mark.end() :]):
        yield Context(_plain(text[stop.start() : start]), _plain(mark.group()), "between")


def _is_text(text: str) -> bool:
    return sum(match.group()[0].isalnum() for match in _WORD.finditer(text)) >= _SHORTEST


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)
