"""Shared by the networks: the device, rows computed independently of each other, padded batches of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


P = TypeVar("P")
R = TypeVar("R")


def find_device(name: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" means on this machine: "auto" is a GPU if there is one."""
    import torch

    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def batches(order: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> Iterable[list[int]]:
    """Cuts places, sorted by length, so that places times the longest stays within the budget; at least one each."""
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * lengths[place] > batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


Block = tuple[list[int], int, int]
"""The places of its rows, the rows that it is filled up to, and its width in tokens."""
BLOCK_ROWS, BLOCK_TOKENS = 32, 32


def blocks(lengths: Sequence[int], batch_tokens: int, most_tokens: int) -> Iterable[Block]:
    """Blocks whose shape depends on the length of their rows alone: a multiple of BLOCK_TOKENS (at most `most_tokens`)
    wide and BLOCK_ROWS long, or as long as the budget allows.
    """
    places_by_width: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        width = min(-(-length // BLOCK_TOKENS) * BLOCK_TOKENS, most_tokens)
        places_by_width.setdefault(width, []).append(place)
    for width, places in places_by_width.items():
        rows = max(1, min(BLOCK_ROWS, batch_tokens // width))
        for start in range(0, len(places), rows):
            yield places[start : start + rows], rows, width


def threads() -> int:
    """How many parts on_one_thread_each runs in parallel."""
    import torch

    return torch.get_num_threads()


def on_one_thread_each(work: Callable[[P], R], parts: Sequence[P]) -> list[R]:
    """The results of `work` for each part, in inference mode. Each part is computed by one thread; as many parts run in
    parallel as torch may use threads.

    With several threads, a matrix product has other last bits than with one, because MKL splits its sums differently.
    While this runs, threads that use torch for the first time also start with one thread.
    """
    import torch

    def infer(part: P) -> R:
        with torch.inference_mode():
            return work(part)

    number = threads()
    if number == 1:
        return [infer(part) for part in parts]
    try:
        with ThreadPoolExecutor(number, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(infer, parts))
    finally:
        torch.set_num_threads(number)


def padded(lines: Sequence[Sequence[int]], padding: int, width: int = 0) -> tuple[Tensor, Tensor]:
    """Ids, filled up with `padding` to the longest line or to `width`, and a mask, 1 for an id and 0 for padding:
    both (lines, width).
    """
    import torch

    lengths = np.array([len(ids) for ids in lines])
    mask = np.arange(max(width, lengths.max())) < lengths[:, None]
    ids = np.full(mask.shape, padding)
    ids[mask] = np.concatenate(lines)
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))
