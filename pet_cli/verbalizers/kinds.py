"""The verbalizers by the name of their settings."""

from __future__ import annotations

from pet_cli.verbalizers.base import Verbalizer
from pet_cli.verbalizers.manual import ManualVerbalizer
from pet_cli.verbalizers.soft import SoftVerbalizer

VERBALIZERS: dict[str, type[Verbalizer]] = {"words": ManualVerbalizer, "soft": SoftVerbalizer}
