"""Tables with places on the map: coordinates as trees can use them."""

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
    """As `ordinal`, and the map turned by some angles: a tree cuts along an axis only, and coasts run slanting."""

    def transform(self, table: pd.DataFrame) -> FloatArray:
        north, east = (np.asarray(table[name], dtype=np.float64) for name in PLACE)
        return np.column_stack([super().transform(table), *_turned(north, east)])


def _turned(north: FloatArray, east: FloatArray) -> list[NDArray[np.float64]]:
    angles = np.radians(ANGLES)
    return [
        *(north * np.cos(angle) + east * np.sin(angle) for angle in angles),
        *(east * np.cos(angle) - north * np.sin(angle) for angle in angles),
    ]
