"""Joins and cleans the texts of a row before they are encoded."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from ai_api.datasets import LONGEST_PIECE, decode

TAGS = (
    "a|abbr|address|area|article|aside|audio|b|base|bdi|bdo|big|blockquote|body|br|button|canvas|caption|"
    "center|cite|code|col|colgroup|data|datalist|dd|del|details|dfn|dialog|dir|div|dl|dt|em|embed|fieldset|"
    "figcaption|figure|font|footer|form|frame|frameset|h1|h2|h3|h4|h5|h6|head|header|hgroup|hr|html|i|iframe|"
    "img|input|ins|kbd|label|legend|li|link|main|map|mark|menu|meta|meter|nav|nobr|noscript|object|ol|"
    "optgroup|option|output|p|param|picture|pre|progress|q|rp|rt|ruby|s|samp|script|section|select|small|"
    "source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|template|textarea|tfoot|th|thead|time|"
    "title|tr|track|tt|u|ul|var|video|wbr"
)
TAG = re.compile(rf"</?(?:{TAGS})(?:[\s/][^<>]*)?>|<[!?][a-z][^<>]*>", re.IGNORECASE)
"""Matches HTML's own names only: `<3` and `<you>` are words. No two parts match the same character, so matching
takes time in proportion to a text's length."""
Strings = NDArray[np.object_]


class Join(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """All texts of a row as one, a blank line between them; "" where there is none."""

    def fit(self, _: pd.DataFrame, __: object = None) -> Join:
        return self

    def transform(self, texts: pd.DataFrame) -> Strings:
        lines = np.asarray(texts, dtype=object)
        return strings("\n\n".join(text for text in line if text) for line in lines)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Clean(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""Decodes entities and `\u2019`, removes HTML tags, and normalises Unicode (NFKC), case and blanks.

    A text without tags becomes what `datasets.normalise` makes of it, so that two texts that differ to the model also
    differ to a row's hash.

    Parameters
    ----------
    html : whether tags such as `<br />`, and comments, are replaced by a blank.
    entities : whether `&eacute;` and literal escapes are decoded.
    case : whether texts are case-folded.

    """

    def __init__(self, html: bool = True, entities: bool = True, case: bool = True) -> None:
        self.html = html
        self.entities = entities
        self.case = case

    def fit(self, _: Iterable[str], __: object = None) -> Clean:
        return self

    def transform(self, texts: Iterable[str]) -> Strings:
        return strings(self._clean(text) for text in texts)

    def _clean(self, text: str) -> str:
        if self.entities:
            text = decode(text)
        if self.html and "<" in text:
            text = TAG.sub(" ", without_comments(text))
        if not text.isascii():
            text = " ".join(_in_normal_form(word) for word in text.split())
        return " ".join((text.casefold() if self.case else text).split())

    def __sklearn_is_fitted__(self) -> bool:
        return True


def without_comments(text: str) -> str:
    """The text with HTML comments replaced by blanks. A comment without an end stays."""
    kept: list[str] = []
    start = 0
    while (opens := text.find("<!--", start)) >= 0 and (closes := text.find("-->", opens + 4)) >= 0:
        kept += [text[start:opens], " "]
        start = closes + 3
    return "".join([*kept, text[start:]])


def _in_normal_form(word: str) -> str:
    pieces = (word[start : start + LONGEST_PIECE] for start in range(0, len(word), LONGEST_PIECE))
    return "".join(unicodedata.normalize("NFKC", piece) for piece in pieces)


def strings(texts: Iterable[str]) -> Strings:
    """Texts as an array (n,) of objects."""
    found = list(texts)
    made = np.empty(len(found), dtype=object)
    made[:] = found
    return made
