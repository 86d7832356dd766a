"""From an example to a prompt: the template language, and token ids with the mask's position."""
