"""LM-BFF's two searches (Gao et al., "Making pre-trained language models better few-shot learners", ACL 2021,
section 5): templates for the run's label words, and label words for the run's template.
"""

from __future__ import annotations

from typing import Any

from pet_cli.search.base import Search
from pet_cli.search.lmbff_templates import LmbffTemplates
from pet_cli.search.lmbff_words import LmbffWords


def lmbff(what: str, *given: Any) -> Search:
    """The search for `template` or `verbalizer`; the rest as `Search` takes it."""
    kind: type[Search] = LmbffTemplates if what == "template" else LmbffWords
    return kind(what, *given)
