"""Describe what is wrong with an input, without repeating any of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

FIELD_NAMES = frozenset(
    {
        "body",
        "query",
        "path",
        "header",
        "task",
        "inputs",
        "version",
        "prediction_id",
        "label",
        "value",
        "comment",
        "recipe",
        "params",
        "reason",
        "status",
        "limit",
        "before",
        "after",
    }
)


def describe(errors: Iterable[Mapping[str, object]], known: frozenset[str] = FIELD_NAMES, prefix: str = "") -> str:
    """One sentence for each of the first ten errors of pydantic: the place (names from `known` and positions only) and
    what was expected. `prefix` comes before each place.
    """
    sentences = []
    for error in list(errors)[:10]:
        place = place_of(error["loc"], known)
        if error["type"] == "extra_forbidden":
            message = "unknown field"
        elif error["type"] == "json_invalid":
            place, message = "body", "not valid JSON"
        elif error["type"] == "value_error":
            message = "not an allowed value"
        elif str(error["type"]).endswith("_parsing"):
            message = str(error["msg"]).partition(",")[0]  # what follows quotes the input
        else:
            message = str(error["msg"])
        sentences.append(f"{'.'.join(filter(None, (prefix, place))) or 'body'}: {message}")
    return "; ".join(sentences)


def place_of(loc: object, known: frozenset[str]) -> str:
    """The location that pydantic names, without names that the caller has made up."""
    parts = loc if isinstance(loc, Sequence) and not isinstance(loc, str) else ()
    return ".".join(str(part) for part in parts if isinstance(part, int) or part in known)
