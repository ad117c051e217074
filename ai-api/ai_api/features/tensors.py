"""What every network here needs: where it runs, and tokens in batches of like length as padded tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def find_device(name: str) -> torch.device:
    """Where "auto", "cpu" or "cuda" is on this machine."""
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


def padded(lines: Sequence[Sequence[int]], padding: int) -> tuple[Tensor, Tensor]:
    """Ids, filled up with `padding` to the longest line, and a mask, 1 where an id stands: both (lines, width)."""
    import torch

    lengths = np.array([len(ids) for ids in lines])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, padding)
    ids[mask] = np.concatenate(lines)
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))
