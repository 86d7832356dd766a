"""pet: prompt-based few-shot text classification with pretrained language models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pet_cli.version import __version__

if TYPE_CHECKING:
    from pet_cli.api import PromptClassifier

__all__ = ["PromptClassifier", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `pet --help` must not wait for torch.
    if name == "PromptClassifier":
        from pet_cli.api import PromptClassifier

        return PromptClassifier
    raise AttributeError(f"module 'pet_cli' has no attribute '{name}'")
