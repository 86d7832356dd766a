"""The four eras of text classification, each of which the ladder has rungs of: what a run's settings belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pet_cli.config import registry

ERAS = {
    "features": "Features",
    "architecture": "Architecture",
    "pretraining": "Pretrain and fine-tune",
    "prompts": "Prompts",
}
"""era -> its title, in the order of history."""


def era(config: Mapping[str, Any]) -> str:
    """The era of a run's plain settings: its method's; with a language model, whether there is a prompt.

    Raises:
        UserError: a method or tuning of a name that is unknown.
    """
    own: str | None = registry.settings_class("method", _name(config, "method", "prompt")).era
    if own is not None:
        return own
    uses_prompt = registry.settings_class("tuning", _name(config, "tuning", "full")).uses_prompt
    return "prompts" if uses_prompt else "pretraining"


def _name(config: Mapping[str, Any], group: str, default: str) -> Any:
    """A kind by its name; a run made before there was such a group has the default."""
    return (config.get(group) or {}).get("name", default)
