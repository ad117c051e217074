"""Tables with geographic coordinates: rotated copies of them, for trees."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ai_api.datasets import FloatArray
from ai_api.errors import UnknownRecipe

from . import table_features
from .table import Ordinal

ANGLES = (15, 30, 45, 60, 75)
PLACE = ("Latitude", "Longitude")


@table_features("geo")
def geo(numbers: list[str], categories: list[str]) -> Turned:
    """For rows with a Latitude and a Longitude."""
    if not set(PLACE) <= set(numbers):
        raise UnknownRecipe(f"geo features need the columns {' and '.join(PLACE)}.")
    return Turned(numbers, categories)


class Turned(Ordinal):
    """As `ordinal`, and the coordinates rotated by each of ANGLES (degrees), because trees split along axes."""

    def transform(self, table: pd.DataFrame) -> FloatArray:
        north, east = (np.asarray(table[name], dtype=np.float64) for name in PLACE)
        return np.column_stack([super().transform(table), *_rotated(north, east)])


def _rotated(north: FloatArray, east: FloatArray) -> list[NDArray[np.float64]]:
    angles = np.radians(ANGLES)
    return [
        *(north * np.cos(angle) + east * np.sin(angle) for angle in angles),
        *(east * np.cos(angle) - north * np.sin(angle) for angle in angles),
    ]
