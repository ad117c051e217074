"""Which predictions a person should label next: what chance chose, what people disagree on, where the model is unsure.

Only the newest predictions of a task are looked at. What somebody has labelled, or has before them at the moment, is
left alone. Chance has the first word on a part of every answer: a prediction is in the random share when the hash of
its id says so, whatever it holds, and the share is taken in the order of these hashes. Whatever of it was labelled
already is counted in on the way, or the mistakes that people notice by themselves would be missing from it.
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

Reason = Literal["random", "disagreement", "margin", "entropy"]

LABELLING = 0x6C6162
"""First half of the keys of the advisory locks that hand a task's rows to one person at a time; it spells "lab"."""
RECENT, RECENT_DAYS = 5_000, 31
"""How far back we look, in rows and in days."""
RANDOM_PART = 4
"""One row in so many is of the random share, as long as it has some."""

WINDOW = """
    recent AS MATERIALIZED (
        SELECT id FROM predictions
        WHERE task = :task AND id >= :since AND role IN ('champion', 'pinned', 'canary') AND row <> '{}'
        ORDER BY id DESC LIMIT :recent
    ),
    words AS MATERIALIZED (
        SELECT DISTINCT ON (prediction_id, user_id)
               prediction_id, user_id, user_role IN ('trainer', 'admin') AS trusted,
               coalesce(label, value::text) AS truth
        FROM examples WHERE task = :task AND prediction_id >= :since
        ORDER BY prediction_id, user_id, id DESC
    ),
    free AS MATERIALIZED (
        SELECT id FROM recent WHERE NOT EXISTS (
            SELECT FROM assignments AS a WHERE a.prediction_id = recent.id AND a.expires_at > now() AND a.user_id <> :me
        )
    )
"""
"""The newest predictions that somebody got and no erasure has blanked, what people said about them (each person's last
word), and those that lie before nobody else.
"""

SHARE = text(f"""
    WITH {WINDOW}, hashed AS (
        SELECT id, (uuid_hash_extended(id, 0) & 9007199254740991) / 9007199254740992.0 AS place FROM recent
    )
    SELECT h.id, s.prediction_id IS NOT NULL AS drawn,
           EXISTS (SELECT FROM words AS w WHERE w.prediction_id = h.id) AS labelled,
           EXISTS (SELECT FROM free AS f WHERE f.id = h.id) AS free
    FROM hashed AS h LEFT JOIN samples AS s ON s.prediction_id = h.id
    WHERE h.place < :share OR s.prediction_id IS NOT NULL
    ORDER BY h.place
""")  # noqa: S608

DISPUTED = text(f"""
    WITH {WINDOW}, heard AS (
        SELECT *, bool_or(trusted) OVER (PARTITION BY prediction_id) AS has_trusted FROM words
    ), votes AS (
        SELECT prediction_id, truth, count(*) AS n FROM heard WHERE trusted = has_trusted GROUP BY prediction_id, truth
    )
    SELECT v.prediction_id AS id, 1 - max(v.n) / sum(v.n) AS disagreement
    FROM votes AS v JOIN free AS f ON f.id = v.prediction_id
    WHERE NOT EXISTS (SELECT FROM words AS w WHERE w.prediction_id = v.prediction_id AND w.user_id = :me)
    GROUP BY v.prediction_id HAVING count(*) > 1
    ORDER BY disagreement DESC, id DESC LIMIT :limit
""")  # noqa: S608

UNSURE = """
    WITH {window}, unsure AS (
        SELECT p.id, odds[1] - coalesce(odds[2], 0) AS margin,
               (SELECT coalesce(-sum(x * ln(x)) FILTER (WHERE x > 0), 0) / ln(greatest(cardinality(odds), 2))
                FROM unnest(odds) AS x) AS entropy
        FROM free AS f JOIN predictions AS p ON p.id = f.id
        CROSS JOIN LATERAL (
            SELECT array_agg(e.value::float8 ORDER BY e.value::float8 DESC) AS odds
            FROM jsonb_each_text(p.answer -> 'probabilities') AS e
        ) AS o
        WHERE p.id >= :since AND jsonb_typeof(p.answer -> 'probabilities') = 'object'
          AND NOT EXISTS (SELECT FROM words AS w WHERE w.prediction_id = p.id)
    )
    SELECT id, margin, entropy FROM unsure WHERE margin IS NOT NULL ORDER BY {order}, id DESC LIMIT :limit
"""
BY_MARGIN = text(UNSURE.format(window=WINDOW, order="margin"))
BY_ENTROPY = text(UNSURE.format(window=WINDOW, order="entropy DESC"))


@dataclass(frozen=True)
class Wish:
    """What somebody wants to label."""

    task: str
    user_id: UUID
    by: Literal["margin", "entropy", "disagreement"]
    limit: int
    share: float
    """Of the predictions, for chance to choose."""
    lifetime: timedelta
    """For which what is offered is theirs alone."""


@dataclass(frozen=True)
class Offer:
    """A prediction for one person to label, and why it."""

    prediction: Prediction
    reason: Reason
    assigned_until: datetime
    margin: float | None = None
    """The likeliest label's probability less the next one's: near 0 is unsure."""
    entropy: float | None = None
    """Of the probabilities; 1 is no idea at all."""
    disagreement: float | None = None
    """Share of the people who do not say what most say."""
    probability: float | None = None
    """How likely chance was to choose it."""


Why = dict[str, object]


def offer(session: Session, wish: Wish) -> list[Offer]:
    """Up to `limit` predictions, from now on theirs for a while. Asking again gives those that they left unlabelled."""
    session.execute(select(func.pg_advisory_xact_lock(LABELLING, func.hashtext(wish.task))))
    chosen: dict[UUID, Why] = {}
    if wish.by != "disagreement":
        _add(chosen, wish.limit, _drawn(session, wish, -(-wish.limit // RANDOM_PART)))
    disputed = _rows(session, DISPUTED, wish, limit=wish.limit)
    _add(chosen, wish.limit, ((key, {"reason": "disagreement", "disagreement": float(much)}) for key, much in disputed))
    if wish.by != "disagreement" and len(chosen) < wish.limit:
        statement = BY_MARGIN if wish.by == "margin" else BY_ENTROPY
        unsure = _rows(session, statement, wish, limit=wish.limit)
        _add(
            chosen,
            wish.limit,
            ((key, {"reason": wish.by, "margin": margin, "entropy": entropy}) for key, margin, entropy in unsure),
        )
    return _assign(session, wish, chosen)


def _drawn(session: Session, wish: Wish, most: int) -> list[tuple[UUID, Why]]:
    """The next ones of the random share. What was drawn before and still is not labelled comes first."""
    rows = _rows(session, SHARE, wish, share=wish.share)
    theirs = [row.id for row in rows if row.drawn and row.free and not row.labelled][:most]
    passed: list[UUID] = []
    for row in rows:
        if len(theirs) == most:
            break
        if not row.drawn:
            passed.append(row.id)
            if row.free and not row.labelled:
                theirs.append(row.id)
    if passed:
        new = [{"prediction_id": key, "task": wish.task, "probability": wish.share} for key in passed]
        session.execute(insert(Sample).on_conflict_do_nothing(), new)
    drawn = select(Sample.prediction_id, Sample.probability).where(Sample.prediction_id.in_(theirs))
    probabilities = {row.prediction_id: row.probability for row in session.execute(drawn)}
    return [(key, {"reason": "random", "probability": probabilities[key]}) for key in theirs]


def _add(chosen: dict[UUID, Why], limit: int, found: Iterable[tuple[UUID, Why]]) -> None:
    for key, why in found:
        if len(chosen) < limit:
            chosen.setdefault(key, why)


def _assign(session: Session, wish: Wish, chosen: Mapping[UUID, Why]) -> list[Offer]:
    if not chosen:
        return []
    until = datetime.now(UTC) + wish.lifetime
    rows = [{"prediction_id": key, "user_id": wish.user_id, "expires_at": until} for key in chosen]
    new = insert(Assignment).values(rows)
    session.execute(
        new.on_conflict_do_update(
            index_elements=["prediction_id"],
            set_={"user_id": new.excluded.user_id, "expires_at": new.excluded.expires_at},
        )
    )
    predictions = {found.id: found for found in session.scalars(select(Prediction).where(Prediction.id.in_(chosen)))}
    return [
        Offer(predictions[key], assigned_until=until, **why)  # type: ignore[arg-type]
        for key, why in chosen.items()
        if key in predictions
    ]


def _rows(session: Session, statement: TextClause, wish: Wish, **others: object) -> Sequence[Any]:
    since = floor(datetime.now(UTC) - timedelta(days=RECENT_DAYS))
    window = {"task": wish.task, "since": since, "recent": RECENT, "me": wish.user_id}
    return session.execute(statement, {**window, **others}).all()
