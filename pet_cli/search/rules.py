"""Templates written by rule: from field names, kind of task and label words, in the task's language.

The clozes of a kind of task stand in `phrases.yaml`; here is which kinds a task may be of, and how clozes, texts and
the names of fields go together. A language that the file does not have gets what needs no words of a language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pet_cli.config import files
from pet_cli.prompts.template import Text, source_of
from pet_cli.search.base import Candidate, Search

PHRASES = Path(__file__).parent / "phrases.yaml"
_QUESTIONS = ("?", "？")
_BARE = {
    "after": ["{mask}.", "({mask})", "- {mask}.", "= {mask}.", "{mask}!"],
    "before": ["{mask}:", "{mask} -", "({mask})", "[ {mask} ]", "{mask}."],
}
"""Clozes of any language and kind."""


class Rules(Search):
    """Proposes every template that the rules write, those of the likelier kinds first."""

    def run(self) -> None:
        self.bench.score(Candidate(line, origin) for line, origin in self.lines())

    def lines(self) -> Iterator[tuple[str, str]]:
        """Templates, each with the rule that wrote it."""
        phrases: dict[str, Any] = files.parsed(PHRASES).get(self.config.task.language, {})
        space = self.space
        fields = list(self.config.task.fields)
        text = space.join(f"{{{name}}}" for name in fields)
        words = self._words_in_a_row(phrases.get("or", "/"), space)
        kinds = self._kinds(phrases)
        if "pair" in kinds:
            for cloze in phrases.get("pair", []):
                yield _of_pair(cloze, *fields), "pair"
        for kind in (one for one in kinds if one != "pair"):
            own = _BARE if kind == "bare" else phrases.get(kind, {})
            for cloze in own.get("after", []):
                yield f"{text}{space}{cloze.replace('{words}', words)}", f"{kind}, behind"
            for cloze in own.get("before", []):
                yield f"{cloze.replace('{words}', words)}{space}{text}", f"{kind}, before"
        if len(fields) > 1:  # between the first text and the others
            first, rest = f"{{{fields[0]}}}", space.join(f"{{{name}}}" for name in fields[1:])
            for cloze in _BARE["after"]:
                yield f"{first}{space}{cloze}{space}{rest}", "between"
        named = space.join(f"{_title(name)}: {{{name}}}" for name in fields)
        for name in (self.config.task.label, "answer" if "pair" in kinds or "question" in kinds else "topic"):
            yield f"{named}{space}{_title(name)}: {{mask}}.", "named fields"
        yield f"{named}{space}{{mask}}.", "named fields"

    def _kinds(self, phrases: dict[str, Any]) -> list[str]:
        """What the task may be: a judgement of a pair of texts, where words such as yes and no stand at the mask;
        else about the quality or the topic of a text, or about a question, where most texts are one."""
        flat = {word.lower() for own in self.words.values() for word in own}
        if len(self.config.task.fields) == 2 and flat <= set(map(str, phrases.get("judging", []))):
            return ["pair", "bare"]
        texts = [text.strip() for row in (self.looked.train or self.looked.unlabeled).rows for text in row.values()]
        asking = sum(text.endswith(_QUESTIONS) for text in texts) > len(texts) / 2
        return [*(["question"] if asking else []), "quality", "topic", "bare"]

    def _words_in_a_row(self, conjunction: str, space: str) -> str:
        """The first word of each label: `terrible or great`, `world, sports or business`."""
        first = [source_of([Text(next(iter(own)))]) for own in self.words.values()]
        return f"{', '.join(first[:-1])}{space}{conjunction}{space}{first[-1]}"


def _of_pair(cloze: str, first: str, second: str) -> str:
    names = {"a": first, "b": second}
    return re.sub(r"\{([ab])(?=[:}])", lambda match: f"{{{names[match[1]]}", cloze)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
