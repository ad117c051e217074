"""Accuracy computed from counted groups: what GET /accuracy responds with and what the gauges show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from .crud.predictions import accuracy as crud
from .database import Database
from .metrics import VersionAccuracy
from .schemas.predictions.accuracy import (
    Accuracy,
    Bin,
    Both,
    BothCalibrations,
    Calibration,
    Confusion,
    Measure,
    OfClass,
    OfDay,
    OfVersion,
)
from .tally import SCORE_BINS, Group, Population, Tally, total

K = TypeVar("K", int, str, date, tuple[int, str])
TOO_LARGE = "A prediction or its correction is larger than 1e100, so there is no mean of the errors."


def summary(task: str, after: datetime, before: datetime, groups: Sequence[Group]) -> Accuracy:
    """The accuracy of a task over the predictions made in [after, before), from its groups."""
    labels = sorted({name for group in groups for name in (group.truth, group.label) if name is not None})
    truths, predicted = _by(groups, lambda group: group.truth), _by(groups, lambda group: group.label)
    return Accuracy(
        task=task,
        after=after,
        before=before,
        overall=both(groups),
        versions=[
            OfVersion(version=number, run_id=run_id or None, **_both(some))
            for (number, run_id), some in by_run(groups).items()
        ],
        days=[OfDay(day=key, **_both(some)) for key, some in _by(groups, lambda group: group.day).items()],
        classes=[
            OfClass(label=name, recall=both(truths.get(name, [])), precision=both(predicted.get(name, [])))
            for name in labels
        ],
        confusion=_confusion(truths),
        calibration=BothCalibrations(all=_calibration(_of("all", groups)), random=_calibration(_of("random", groups))),
    )


def by_run(groups: Sequence[Group]) -> dict[tuple[int, str], list[Group]]:
    """The groups by version and run, "" if the run is not known. A version with one known run has no other."""
    runs: dict[int, set[str]] = {}
    for group in groups:
        runs.setdefault(group.version, set()).update(filter(None, (group.run_id,)))

    def key(group: Group) -> tuple[int, str]:
        known = runs[group.version]
        return group.version, min(known) if len(known) == 1 else group.run_id or ""

    return _by(groups, key)


def measure(tally: Tally, labels: bool) -> Measure:
    """Accuracy or errors of one tally: of labels if `labels`, else of numbers."""
    rows, weight = tally.rows, tally.weight
    has_errors = bool(rows) and not labels
    low, high = tally.interval if rows and labels else (None, None)
    return Measure(
        rows=rows,
        accuracy=tally.right / weight if rows and labels else None,
        low=low,
        high=high,
        mean_error=_finite(tally.error / weight) if has_errors else None,
        mean_absolute_error=_finite(tally.absolute / weight) if has_errors else None,
        root_mean_squared_error=_finite(math.sqrt(tally.squared / weight)) if has_errors else None,
        reason=None if math.isfinite(tally.squared) else TOO_LARGE,
    )


def both(groups: Sequence[Group]) -> Both:
    """The measures of both populations."""
    return Both(**_both(groups))


def _both(groups: Sequence[Group]) -> dict[str, Measure]:
    labels = any(group.truth is not None for group in groups)
    return {"all": measure(total(_of("all", groups)), labels), "random": measure(total(_of("random", groups)), labels)}


def _confusion(truths: dict[str, list[Group]]) -> list[Confusion]:
    cells = []
    everything = total(_of("random", [group for some in truths.values() for group in some])).weight
    for truth, some in truths.items():
        for label, cell in _by(some, lambda group: group.label).items():
            share = total(_of("random", cell)).weight / everything if everything else 0.0
            cells.append(Confusion(truth=truth, label=label, all=total(_of("all", cell)).rows, random=share))
    return cells


def _calibration(groups: Sequence[Group]) -> Calibration:
    scored = _by([group for group in groups if group.truth is not None], lambda group: group.bin)
    bins, gap, weight = [], 0.0, 0.0
    for place, some in scored.items():
        tally = total(some)
        gap, weight = gap + abs(tally.score - tally.right), weight + tally.weight
        bins.append(
            Bin(
                low=(place - 1) / SCORE_BINS,
                high=place / SCORE_BINS,
                mean_score=_finite(tally.score / tally.weight),
                measure=measure(tally, labels=True),
            )
        )
    return Calibration(bins=bins, error=_finite(gap / weight) if weight else None)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _of(population: Population, groups: Iterable[Group]) -> list[Group]:
    return [group for group in groups if group.population == population]


def _by(groups: Iterable[Group], key: Callable[[Group], K | None]) -> dict[K, list[Group]]:
    """The groups by a key, in the order of keys; groups whose key is None are left out."""
    found: dict[K, list[Group]] = {}
    for group in groups:
        if (value := key(group)) is not None:
            found.setdefault(value, []).append(group)
    return {value: found[value] for value in sorted(found)}


def recent(database: Database, days: int = 7) -> list[VersionAccuracy]:
    """The accuracy of every task's versions over the predictions of the last days, for the gauges."""
    now = datetime.now(UTC)
    found: list[VersionAccuracy] = []
    with database.session() as session:
        for task in crud.tasks(session):
            tallies: dict[tuple[int, Population, bool], Tally] = {}
            for group in newest_runs(list(crud.groups(session, task, now - timedelta(days=days), now))):
                key = (group.version, group.population, group.truth is not None)
                tallies[key] = tallies.get(key, Tally()) + group.tally
            found += [_gauge(task, *key, tally) for key, tally in tallies.items()]
    return found


def newest_runs(groups: Sequence[Group]) -> list[Group]:
    """The groups of each version's run that predicted last: the gauges know a version by its number only."""
    newest: dict[int, list[Group]] = {}
    for (version, _), some in by_run(groups).items():
        newest[version] = max(
            newest.get(version, []), some, key=lambda each: max((one.day for one in each), default=date.min)
        )
    return [group for some in newest.values() for group in some]


def _gauge(task: str, version: int, population: Population, labels: bool, tally: Tally) -> VersionAccuracy:
    if not labels:
        error = measure(tally, labels=False).mean_absolute_error
        return VersionAccuracy(task, version, population, tally.rows, None, None, None, error)
    low, high = tally.interval
    return VersionAccuracy(task, version, population, tally.rows, tally.right / tally.weight, low, high, None)
