"""From a logged version to a champion, if the gate says so; and the news of it."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ai_api.data_client import promotion
from ai_api.datasets import Split
from ai_api.errors import Conflict
from ai_api.evaluation.evaluate import answer
from ai_api.evaluation.gate import FIRST, GateDecision, PairedPredictions, decide
from ai_api.evaluation.metrics import Predictions
from ai_api.registry.versions import Version

from .request import TrainingContext, TrainingRequest
from .retry import Retry

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)

ONLY_LOGGED = GateDecision(False, "Not compared with a champion: this training only logs its version.")


@dataclass(frozen=True)
class Challenger:
    """A logged version with its answers to the held-out rows."""

    version: Version
    pipeline: Pipeline
    parts: Split
    answers: Predictions


def pass_gate(order: TrainingRequest, around: TrainingContext, retry: Retry, challenger: Challenger) -> GateDecision:
    """Compares, and promotes while the champion is still the one that was compared with; else compares again."""
    name, version = order.task.name, challenger.version
    while True:
        champion = retry(lambda: around.registry.champion(name))
        if champion == version.number:  # an earlier attempt was interrupted right after its promotion
            decision = GateDecision(True, version.lineage.get("reason", "Promoted."))
            before = retry(lambda: around.registry.previous(name))
            break
        decision, before = _compare(order, around, retry, champion, challenger), champion
        tags = {"promoted": str(decision.promote).lower(), "reason": decision.reason}
        retry(partial(around.registry.note, version, "gate.json", decision.report(), tags))
        if not decision.promote:
            return decision
        try:
            retry(partial(_move, around, name, version.number, before))
            break
        except Conflict:  # somebody else's promotion, or ours, whose lock was lost after the alias had moved
            log.info("the champion of %s changed during the comparison; comparing with the new one", name)
    event = promotion(
        promotion_id(version),
        name,
        version.number,
        before,
        action="promote",
        reason=decision.reason,
        metrics=version.metrics,
        actor=order.actor or "gate",
        run_id=version.run_id,
    )
    around.announce(event)
    return decision


def _move(around: TrainingContext, task: str, number: int, expected: int | None) -> None:
    with around.lock(task):
        around.registry.promote(task, number, expected)


def _compare(
    order: TrainingRequest, around: TrainingContext, retry: Retry, number: int | None, challenger: Challenger
) -> GateDecision:
    if number is None:
        return FIRST
    task, parts = order.task, challenger.parts
    champion = retry(lambda: around.registry.load(task.name, number))
    if champion.version.synthetic and not parts.train.synthetic:
        return GateDecision(True, "Promoted: the champion was trained on generated rows, this version on real ones.")
    if parts.train.synthetic and not champion.version.synthetic:
        return GateDecision(False, "Not promoted: it was trained on generated rows, the champion on real ones.")
    fixed = PairedPredictions(
        parts.held_out.truths, answer(champion.pipeline, task, parts.held_out), challenger.answers
    )
    live = parts.live.table
    on_live = PairedPredictions(
        live.truths, answer(champion.pipeline, task, live), answer(challenger.pipeline, task, live)
    )
    return decide(task, fixed, on_live, parts.live, order.rounds, order.seed)


def promotion_id(version: Version) -> str:
    """A UUIDv7 that is the same for every attempt to announce this promotion, so that data-api stores it once."""
    milliseconds = int(version.created_at.timestamp() * 1000)
    rest = int.from_bytes(hashlib.sha256(f"{version.task} {version.run_id}".encode()).digest()[:10], "big")
    number = (milliseconds << 80) | (0x7 << 76) | ((rest >> 64 & 0xFFF) << 64) | (0b10 << 62) | (rest & (2**62 - 1))
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
