"""A process that serves is not stopped by garbage collections, keeps no memory of large requests, and no old models."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from ai_api.task import Recipe
from tests.ai.support.models import small_model
from tests.ai.support.small import quick

LARGE_BLOCKS = """
import ctypes, threading
import psutil
from ai_api.process import configure_malloc

configure_malloc()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def use() -> None:
    blocks = [libc.malloc(16 * 2**20) for _ in range(6)]
    for block in blocks:
        ctypes.memset(block, 1, 16 * 2**20)
    for block in blocks:
        libc.free(block)

before = psutil.Process().memory_info().rss
for _ in range(2):
    for thread in [threading.Thread(target=use) for _ in range(3)]:
        thread.start()
        thread.join()
print((psutil.Process().memory_info().rss - before) // 2**20)
"""
OBJECTS = """
import gc, sys
from ai_api.process import configure_interpreter, freeze_objects

freeze_objects()
assert gc.get_freeze_count() == 0
configure_interpreter()
freeze_objects()
print(sys.getswitchinterval(), gc.get_freeze_count() > 1_000, len(gc.get_objects()) < 1_000)
"""


def printed(program: str) -> str:
    """What a program prints in a process of its own, since it changes the whole process."""
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_freed_blocks_of_images_go_back_to_the_system() -> None:
    assert int(printed(LARGE_BLOCKS)) < 16


def test_objects_are_excluded_from_collections_only_in_a_process_that_serves() -> None:
    assert printed(OBJECTS) == "0.0005 True True"


@pytest.mark.parametrize(
    ("task", "recipe"),
    [
        ("tweets", Recipe("logreg", text="tfidf")),
        ("housing", quick(Recipe("boosting"))),
        ("products", quick(Recipe("forest", text="tfidf", image="pixels"))),
        ("products", quick(Recipe("cnn", image="pixels"))),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_a_model_that_no_one_uses_is_freed_without_a_collection(task: str, recipe: Recipe) -> None:
    model = small_model(task, recipe, 1)
    parts = [weakref.ref(model), weakref.ref(model.pipeline)]
    gc.disable()
    try:
        del model
        assert [part() for part in parts] == [None, None]
    finally:
        gc.enable()
