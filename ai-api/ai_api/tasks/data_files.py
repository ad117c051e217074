"""The content of data files, checked. InvalidData names file, line and column, and never repeats what stands there."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from ai_api.errors import InvalidData
from ai_api.images.reference import ImageRef
from ai_api.task import Row

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM")
"""The first bytes of the formats that are read: JPEG, PNG, WebP, GIF, BMP."""


def text_of(content: bytes, name: str) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].count(b"\n")
        raise InvalidData(f"{name}, line {line}: is not UTF-8. Save the file as UTF-8.") from None


def image_of(content: bytes, name: str) -> ImageRef:
    """The image in a file. Only its first bytes are checked, as a data set may hold 100,000 images."""
    if not content.startswith(IMAGE_STARTS):
        raise InvalidData(f"{name}: is no image in one of the formats JPEG, PNG, WebP, GIF and BMP.")
    return ImageRef.of_bytes(content)


def checked_rows(
    rows: list[dict[str, object]], schema: type[Row], where: Callable[[int], str]
) -> list[dict[str, object]]:
    """The same rows; InvalidData for the first that is no row of the task. `where` names a row's place by its index."""
    for place, row in enumerate(rows):
        try:
            schema.model_validate(row)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            field = "".join(f", {part}" for part in first["loc"][:1])
            raise InvalidData(f"{where(place)}{field}: {first['msg']}.") from None
    return rows


class CsvFile:
    """A CSV file with these columns, or InvalidData. Those in `texts` are read as strings, others as numbers.

    `first` is the name of the first column, whatever the file calls it.
    """

    def __init__(
        self,
        content: bytes,
        name: str,
        columns: Collection[str],
        texts: Collection[str] = (),
        first: str | None = None,
    ) -> None:
        self.name = name
        self._content = content
        text_of(content, name)
        head = list(islice(self._records(), 2))
        if not head:
            raise InvalidData(f"{name}: is empty.")
        if len(head) < 2:
            raise InvalidData(f"{name}: has no line below its header.")
        (_, self._header), (line, fields) = head
        if first and len(self._header) > 1:
            self._header[0] = first
        self._check_header(columns)
        if len(fields) > len(self._header):  # pandas would take the surplus for an index
            raise self._surplus(line, fields)
        try:
            self.frame = pd.read_csv(
                io.BytesIO(content),
                header=0,
                names=self._header,
                dtype=dict.fromkeys(texts, str),
                keep_default_na=False,
                na_values={column: [""] for column in self._header if column not in texts},
                low_memory=False,
            )
        except pd.errors.ParserError:
            raise self._not_csv() from None

    def line(self, place: int) -> int:
        """The number of the line at which a row begins, by the row's index. Reads the file: for error messages."""
        return next((line for number, (line, _) in enumerate(self._records(), -1) if number == place), 0)

    def where(self, place: int) -> str:
        """The place of a row in words."""
        return f"{self.name}, line {self.line(place)}"

    def refuse(self, wrong: NDArray[np.bool_] | pd.Series, column: str, reason: str) -> None:
        """InvalidData with the first row that is wrong, if there is one."""
        if len(places := np.flatnonzero(wrong)):
            more = f" So have {len(places) - 1} more lines." if len(places) > 1 else ""
            raise InvalidData(f"{self.where(int(places[0]))}, column {column}: {reason}.{more}")

    def numbers(self, column: str, *, gaps: bool = False) -> pd.Series:
        """The column as floats. `gaps`: an empty field is NaN and not an error."""
        found = self.frame[column]
        empty = found.isna()
        if not pd.api.types.is_numeric_dtype(found) or pd.api.types.is_bool_dtype(found):
            texts = found.astype(str).str.strip()
            empty |= texts == ""
            found = pd.to_numeric(texts.mask(empty), errors="coerce")
        values = found.astype(np.float64)
        self.refuse(~np.isfinite(values) & ~empty, column, "has no number")
        if not gaps:
            self.refuse(empty, column, "has no number")
        return values

    def filled(self, column: str) -> pd.Series:
        """A column of texts, none of them empty."""
        found = self.frame[column]
        self.refuse(found.str.strip() == "", column, "is empty")
        return found

    def digits(self, column: str, *, unique: bool = False) -> pd.Series:
        """A column of texts, each a whole number; `unique`: none of them twice."""
        found = self.frame[column].str.strip()
        self.refuse(~found.str.fullmatch("[0-9]{1,18}"), column, "has no whole number")
        if unique:
            self.refuse(found.duplicated(), column, "has a number that an earlier line has too")
        return found

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Each record that is not blank, the header first, and the number of the line at which it begins."""
        reader = csv.reader(io.TextIOWrapper(io.BytesIO(self._content), "utf-8-sig", newline=""))
        line = 1
        with suppress(csv.Error):  # a field of more than 128 KiB: a quote that nothing closes
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1

    def _check_header(self, columns: Collection[str]) -> None:
        missing = [column for column in columns if column not in self._header]
        for separator, words in SEPARATORS.items():
            if missing and any(separator in field for field in self._header):
                raise InvalidData(f"{self.name}, line 1: the fields are separated by {words}; expected are commas.")
        if missing:
            raise InvalidData(f"{self.name}, line 1: the header lacks the column {', '.join(missing)}.")
        if len(set(self._header)) < len(self._header):
            raise InvalidData(f"{self.name}, line 1: the header has two columns of one name.")

    def _not_csv(self) -> InvalidData:
        """What is wrong with a file that pandas does not read: a line with surplus fields, or an open quote."""
        line = 1
        for line, fields in self._records():
            if len(fields) > len(self._header):
                return self._surplus(line, fields)
        return InvalidData(f"{self.name}, line {line}: opens a quote that nothing closes.")

    def _surplus(self, line: int, fields: Sequence[str]) -> InvalidData:
        expected = len(self._header)
        return InvalidData(f"{self.name}, line {line}: has {len(fields)} fields; expected are {expected}.")
