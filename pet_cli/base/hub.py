"""Whether the Hugging Face hub can be reached, found out once and quickly.

The hub's client tries each file five times with growing pauses. Without a network that is a minute of waiting for
an answer that a single request gives at once; after it, the client is told to look in its cache alone.
"""

from __future__ import annotations

import functools
import os
import urllib.error
import urllib.request


@functools.cache
def prepare() -> bool:
    """Sets the hub's client to its cache where the hub does not answer within seconds; whether it answered."""
    import huggingface_hub.constants as constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return True  # it answered, if only with a refusal
    except (OSError, ValueError):
        os.environ["HF_HUB_OFFLINE"] = "1"  # for libraries imported later
        constants.HF_HUB_OFFLINE = True  # for the client itself
        return False
    return True
