"""Texts are decoded and tidied before any encoder reads them, in a time in proportion to their length."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_api.datasets import frame, normalise
from ai_api.features.clean import Clean, Join, strings
from ai_api.task import Modality


def clean(text: str, **how: bool) -> str:
    [cleaned] = Clean(**how).transform([text])
    return str(cleaned)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Late  AGAIN,\n\tthanks ", "late again, thanks"),
        ("Caf\u00e9 &eacute;t\u00e9 &amp; &#39;th\u00e9&#x27;", "caf\u00e9 \u00e9t\u00e9 & 'th\u00e9'"),
        ("L&#39;essentiel<br />du son<BR>ici", "l'essentiel du son ici"),
        ("<p class='a'>One</p><!-- not > this --><b>two</b>", "one two"),
        ("<!DOCTYPE html><ul><li>one</li></ul>", "one"),
        ("&lt;br&gt;decoded first", "decoded first"),
        (r"it\u2019s late", "it\u2019s late"),
        (r"\ud83d\ude00 ok", "\U0001f600 ok"),
        (r"half \ud83d alone", "half \ufffd alone"),
        ("\U0001f469\u200d\U0001f4bb \u2764\ufe0f", "\U0001f469\u200d\U0001f4bb \u2764\ufe0f"),
        ("\uff26\uff55\uff4c\uff4c \ufb01ne", "full fine"),
        ("e\u0301t\u00e9", "\u00e9t\u00e9"),
        ("STRASSE Stra\u00dfe", "strasse strasse"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_a_text_is_decoded_and_tidied(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    "text", ["i <3 you", "a <you> b", "1 < 2 > 0", "<", "<a", "x<!-- never closed", "&nosuch;", "&"]
)
def test_what_only_looks_like_html_stays(text: str) -> None:
    assert clean(text) == text


def test_each_part_can_be_left_out() -> None:
    text = "<b>Late</b> &amp; tired"
    assert clean(text, html=False) == "<b>late</b> & tired"
    assert clean(text, entities=False) == "late &amp; tired"
    assert clean(text, case=False) == "Late & tired"


@given(st.text().filter(lambda text: "<" not in normalise(text)))
def test_a_text_without_tags_becomes_what_its_hash_reads(text: str) -> None:
    assert clean(text) == normalise(text)


@pytest.mark.parametrize(
    "hostile",
    ["<", "<a ", "<!--", "<!-", "</", "&", "&#", "&#9", "9", "&lt;", r"\u", "\u0315\u0300", "\ufdfa", " ", "x"],
)
def test_no_text_takes_longer_than_its_length_asks(hostile: str) -> None:
    for text in (hostile * 20_000, "&#" + hostile * 20_000 + ";", "<" + hostile * 20_000 + ">"):
        started = time.process_time()
        clean(text)
        assert time.process_time() - started < 1


def test_texts_of_a_row_are_joined_and_gaps_left_out() -> None:
    columns = {"title": Modality.TEXT, "more": Modality.TEXT}
    rows = frame([{"title": "one", "more": "two"}, {"title": "one", "more": None}, {"title": "", "more": ""}], columns)
    assert Join().fit(rows).transform(rows).tolist() == ["one\n\ntwo", "one", ""]


def test_texts_of_any_lengths_are_one_array_of_objects() -> None:
    made = strings(["one", "", "a long one"])
    assert made.dtype == np.object_
    assert made.shape == (3,)
