"""Searches for prompts: templates and label words, found without looking at what a run scores."""
