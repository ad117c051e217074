"""Selects the predictions that a person should label next: a random share, disagreement between people, uncertainty.

Only the newest predictions of a task are considered. Predictions that a person has labelled, or that are assigned to
another person, are left out. The first part of every selection is random: a prediction is in the random share if the
hash of its id is below the share, whatever it contains, and the share is taken in the order of these hashes.
Predictions of the share that people have already corrected are recorded as samples on the way: otherwise the share
would lack the errors that people notice, and the accuracy would be too high.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import TextClause, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.ids import floor
from data_api.models.predictions.labelling import Assignment, Sample
from data_api.models.predictions.prediction import Prediction

from .correction import LAST_OF_EACH_PERSON

Reason = Literal["random", "disagreement", "margin", "entropy"]

LABELLING = 0x6C6162
"""First half of the keys of the advisory locks under which rows of a task are assigned: "lab" in ASCII."""
RECENT, RECENT_DAYS = 5_000, 31
"""Most predictions that are considered, and their highest age in days."""
RANDOM_PART = 4
"""One prediction in this many is of the random share, as long as it has some."""

WINDOW = f"""
    recent AS MATERIALIZED (
        SELECT id FROM predictions
        WHERE task = :task AND id >= :since AND role IN ('champion', 'pinned', 'canary') AND row <> '{{}}'
        ORDER BY id DESC LIMIT :recent
    ),
    corrections AS MATERIALIZED (
        SELECT prediction_id, user_id, trusted, coalesce(label, value::text) AS truth
        FROM ({LAST_OF_EACH_PERSON.format(condition="prediction_id >= :since")}) AS last
    ),
    free AS MATERIALIZED (
        SELECT id FROM recent WHERE NOT EXISTS (
            SELECT FROM assignments AS a WHERE a.prediction_id = recent.id AND a.expires_at > now() AND a.user_id <> :me
        )
    )
"""  # noqa: S608
"""`recent`: the newest predictions that a caller received and whose row is not erased. `corrections`: each person's
last one. `free`: the recent predictions that are not assigned to another person.
"""

SHARE = text(f"""
    WITH {WINDOW}, hashed AS (
        SELECT id, (uuid_hash_extended(id, 0) & 9007199254740991) / 9007199254740992.0 AS hash_value FROM recent
    )
    SELECT h.id, s.prediction_id IS NOT NULL AS drawn,
           EXISTS (SELECT FROM corrections AS c WHERE c.prediction_id = h.id) AS labelled,
           EXISTS (SELECT FROM free AS f WHERE f.id = h.id) AS free
    FROM hashed AS h LEFT JOIN samples AS s ON s.prediction_id = h.id
    WHERE h.hash_value < :share OR s.prediction_id IS NOT NULL
    ORDER BY h.hash_value
""")  # noqa: S608

DISPUTED = text(f"""
    WITH {WINDOW}, ranked AS (
        SELECT *, bool_or(trusted) OVER (PARTITION BY prediction_id) AS has_trusted FROM corrections
    ), votes AS (
        SELECT prediction_id, truth, count(*) AS n FROM ranked WHERE trusted = has_trusted GROUP BY prediction_id, truth
    )
    SELECT v.prediction_id AS id, 1 - max(v.n) / sum(v.n) AS disagreement
    FROM votes AS v JOIN free AS f ON f.id = v.prediction_id
    WHERE NOT EXISTS (SELECT FROM corrections AS c WHERE c.prediction_id = v.prediction_id AND c.user_id = :me)
    GROUP BY v.prediction_id HAVING count(*) > 1
    ORDER BY disagreement DESC, id DESC LIMIT :limit
""")  # noqa: S608

UNCERTAIN = """
    WITH {window}, uncertain AS (
        SELECT p.id, odds[1] - coalesce(odds[2], 0) AS margin,
               (SELECT coalesce(-sum(x * ln(x)) FILTER (WHERE x > 0), 0) / ln(greatest(cardinality(odds), 2))
                FROM unnest(odds) AS x) AS entropy
        FROM free AS f JOIN predictions AS p ON p.id = f.id
        CROSS JOIN LATERAL (
            SELECT array_agg(e.value::float8 ORDER BY e.value::float8 DESC) AS odds
            FROM jsonb_each_text(p.answer -> 'probabilities') AS e
        ) AS o
        WHERE p.id >= :since AND jsonb_typeof(p.answer -> 'probabilities') = 'object'
          AND NOT EXISTS (SELECT FROM corrections AS c WHERE c.prediction_id = p.id)
    )
    SELECT id, margin, entropy FROM uncertain WHERE margin IS NOT NULL ORDER BY {order}, id DESC LIMIT :limit
"""
BY_MARGIN = text(UNCERTAIN.format(window=WINDOW, order="margin"))
BY_ENTROPY = text(UNCERTAIN.format(window=WINDOW, order="entropy DESC"))


@dataclass(frozen=True)
class LabelRequest:
    """A person's request for predictions to label."""

    task: str
    user_id: UUID
    by: Literal["margin", "entropy", "disagreement"]
    limit: int
    share: float
    """Probability with which a prediction is in the random share."""
    lifetime: timedelta
    """How long the predictions are assigned to this person."""


@dataclass(frozen=True)
class LabelOffer:
    """A prediction for one person to label, and the reason for its selection."""

    prediction: Prediction
    reason: Reason
    assigned_until: datetime
    margin: float | None = None
    """The highest probability less the second; near 0: uncertain."""
    entropy: float | None = None
    """Entropy of the probabilities, from 0 to 1 (uniform)."""
    disagreement: float | None = None
    """Share of the people who disagree with the most frequent truth."""
    probability: float | None = None
    """Sampling probability of a random one."""


OfferDetails = dict[str, object]


def offer(session: Session, request: LabelRequest) -> list[LabelOffer]:
    """Assigns up to `limit` predictions to the person. A repeated request returns those not labelled yet."""
    session.execute(select(func.pg_advisory_xact_lock(LABELLING, func.hashtext(request.task))))
    chosen: dict[UUID, OfferDetails] = {}
    if request.by != "disagreement":
        _add(chosen, request.limit, _drawn(session, request, -(-request.limit // RANDOM_PART)))
    disputed = _rows(session, DISPUTED, request, limit=request.limit)
    _add(chosen, request.limit, ((key, {"reason": "disagreement", "disagreement": float(d)}) for key, d in disputed))
    if request.by != "disagreement" and len(chosen) < request.limit:
        statement = BY_MARGIN if request.by == "margin" else BY_ENTROPY
        uncertain = _rows(session, statement, request, limit=request.limit)
        _add(
            chosen,
            request.limit,
            ((key, {"reason": request.by, "margin": margin, "entropy": entropy}) for key, margin, entropy in uncertain),
        )
    return _assign(session, request, chosen)


def _drawn(session: Session, request: LabelRequest, most: int) -> list[tuple[UUID, OfferDetails]]:
    """The next `most` predictions of the random share. Those drawn before and not labelled yet come first."""
    rows = _rows(session, SHARE, request, share=request.share)
    ids = [row.id for row in rows if row.drawn and row.free and not row.labelled][:most]
    passed: list[UUID] = []
    for row in rows:
        if len(ids) == most:
            break
        if not row.drawn:
            passed.append(row.id)
            if row.free and not row.labelled:
                ids.append(row.id)
    if passed:
        new = [{"prediction_id": key, "task": request.task, "probability": request.share} for key in passed]
        session.execute(insert(Sample).on_conflict_do_nothing(), new)
    drawn = select(Sample.prediction_id, Sample.probability).where(Sample.prediction_id.in_(ids))
    probabilities = {row.prediction_id: row.probability for row in session.execute(drawn)}
    return [(key, {"reason": "random", "probability": probabilities[key]}) for key in ids]


def _add(chosen: dict[UUID, OfferDetails], limit: int, found: Iterable[tuple[UUID, OfferDetails]]) -> None:
    for key, details in found:
        if len(chosen) < limit:
            chosen.setdefault(key, details)


def _assign(session: Session, request: LabelRequest, chosen: Mapping[UUID, OfferDetails]) -> list[LabelOffer]:
    if not chosen:
        return []
    until = datetime.now(UTC) + request.lifetime
    rows = [{"prediction_id": key, "user_id": request.user_id, "expires_at": until} for key in chosen]
    new = insert(Assignment).values(rows)
    session.execute(
        new.on_conflict_do_update(
            index_elements=["prediction_id"],
            set_={"user_id": new.excluded.user_id, "expires_at": new.excluded.expires_at},
        )
    )
    predictions = {found.id: found for found in session.scalars(select(Prediction).where(Prediction.id.in_(chosen)))}
    return [
        LabelOffer(predictions[key], assigned_until=until, **details)  # type: ignore[arg-type]
        for key, details in chosen.items()
        if key in predictions
    ]


def _rows(session: Session, statement: TextClause, request: LabelRequest, **others: object) -> Sequence[Any]:
    since = floor(datetime.now(UTC) - timedelta(days=RECENT_DAYS))
    window = {"task": request.task, "since": since, "recent": RECENT, "me": request.user_id}
    return session.execute(statement, {**window, **others}).all()
