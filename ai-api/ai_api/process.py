"""What a process that serves sets for itself: the interpreter's threads, its garbage collector, and glibc's malloc."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

SWITCH_SECONDS = 0.000_5
"""How long a thread keeps the interpreter while others wait: the event loop gives it up at each read and write."""
GC_THRESHOLDS = (50_000, 20, 100)
"""Thresholds of the garbage collector's generations: new objects before a collection of the youngest, then collections
of one generation before one of the next.
"""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8


def configure_interpreter() -> None:
    """Lets calls go on beside models: the event loop gets the interpreter back sooner from the threads that compute,
    and garbage is collected less often, because one request of 1,000 rows creates many objects.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GC_THRESHOLDS)


def freeze_objects() -> None:
    """Excludes the objects that exist now from garbage collection, if `configure_interpreter` was called; those without
    cycles are freed as before. Called when a version has been loaded.

    Models and their libraries are 500,000 objects: each full collection over them would stop all calls for 0.4 s.
    """
    if gc.get_threshold() == GC_THRESHOLDS:
        gc.freeze()


def configure_malloc() -> None:
    """Makes glibc return the memory of images and large bodies to the system. By default it keeps what it had to get
    once, for each thread. Does nothing with other C libraries.
    """
    options = {M_ARENA_MAX: 2, M_MMAP_THRESHOLD: 8 * 2**20, M_TRIM_THRESHOLD: 16 * 2**20}
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        for option, value in options.items():
            libc.mallopt(option, value)
