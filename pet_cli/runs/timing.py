"""What differs from run to run: seconds, speed, memory, and the machine. Torch is asked only where it was loaded."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys
from pathlib import Path
from typing import Any

from pet_cli.base.clock import Clock


def forget_peak_memory() -> None:
    """Starts the peak of memory anew where Linux lets us: a run of a sweep is not to report an earlier one's."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None) if os.name == "posix" else None, "malloc_trim", None):
        trim(0)  # glibc keeps what was freed, and it would count
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def timing(clock: Clock, device: str, n_test: int) -> dict[str, Any]:
    """The contents of `timing.json`.

    Args:
        device: where the run computed, such as `cpu` or `cuda:0`.
    """
    scored = clock.seconds.get("encode test", 0.0) + clock.seconds.get("evaluate test", 0.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    torch = sys.modules.get("torch")
    return {
        "seconds": {name: round(seconds, 4) for name, seconds in clock.seconds.items()},
        "test_examples_per_second": round(n_test / scored, 1) if scored else None,
        "peak_memory_bytes": peak,
        "peak_device_memory_bytes": torch.cuda.max_memory_allocated() if torch and device.startswith("cuda") else None,
        "device": device,
        "threads": torch.get_num_threads() if torch else None,
        "process": os.getpid(),
    }
