"""Compares a logged version with the champion and promotes it if the gate decides so."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ai_api.datasets import Split
from ai_api.errors import Conflict
from ai_api.evaluation.evaluate import predict_table
from ai_api.evaluation.gate import FIRST, GateDecision, PairedPredictions, decide
from ai_api.evaluation.metrics import Predictions
from ai_api.registry.promotion import Promotions
from ai_api.registry.versions import Version

from .request import TrainingContext, TrainingRequest
from .retry import Retry

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)

ONLY_LOGGED = GateDecision(False, "Not compared with a champion: this training only logs its version.")

UNSIGNED = (
    "Not promoted: the champion in MLflow, version {}, has no valid signature, so nothing is compared with it. Roll it"
    " back, or sign it with `ai-api versions sign`."
)


@dataclass(frozen=True)
class Challenger:
    """A logged version with its predictions for the held-out rows."""

    version: Version
    pipeline: Pipeline
    parts: Split
    predictions: Predictions


def pass_gate(
    request: TrainingRequest, context: TrainingContext, promotions: Promotions, retry: Retry, challenger: Challenger
) -> GateDecision:
    """Compares the challenger with the champion and promotes it if the gate decides so.

    When the champion changes during the comparison, the comparison is repeated with the new champion.
    """
    version, runs = challenger.version, context.registry.runs
    actor, event_id = request.actor or "gate", promotion_id(version)
    while True:
        champion = retry(lambda: context.registry.champion(version.task))
        if champion == version.number:  # an earlier attempt was interrupted after its promotion
            decision = GateDecision(True, version.lineage.get("reason", "Promoted."))
            previous = retry(lambda: context.registry.previous(version.task))
            promotions.announce_promotion(version, previous, reason=decision.reason, actor=actor, event_id=event_id)
            return decision
        decision = _compare(request, context, retry, champion, challenger)
        tags = {"promoted": str(decision.promote).lower(), "reason": decision.reason}
        retry(partial(runs.add_report, version, "gate.json", decision.report(), tags))
        if not decision.promote:
            return decision
        try:
            retry(
                partial(promotions.promote, version, champion, reason=decision.reason, actor=actor, event_id=event_id)
            )
            return decision
        except Conflict:  # another promotion, or this one, when the lock was lost after the alias had moved
            log.info("the champion of %s changed during the comparison; comparing with the new one", version.task)


def _compare(
    request: TrainingRequest, context: TrainingContext, retry: Retry, number: int | None, challenger: Challenger
) -> GateDecision:
    if number is None:
        return FIRST
    task, parts = request.task, challenger.parts
    champion_version = retry(lambda: context.registry.version(task.name, number))
    if not context.registry.is_signed(champion_version):
        return GateDecision(False, UNSIGNED.format(number))
    champion = retry(lambda: context.registry.load(champion_version))
    if champion.version.synthetic and not parts.train.synthetic:
        return GateDecision(True, "Promoted: the champion was trained on generated rows, this version on real ones.")
    if parts.train.synthetic and not champion.version.synthetic:
        return GateDecision(False, "Not promoted: it was trained on generated rows, the champion on real ones.")
    fixed = PairedPredictions(
        parts.held_out.truths, predict_table(champion.pipeline, task, parts.held_out), challenger.predictions
    )
    table = parts.live.table
    live = PairedPredictions(
        table.truths, predict_table(champion.pipeline, task, table), predict_table(challenger.pipeline, task, table)
    )
    return decide(task, fixed, live, parts.live, request.rounds, request.seed)


def promotion_id(version: Version) -> str:
    """A UUIDv7 that is the same for every attempt to announce this promotion, so that data-api stores it once."""
    milliseconds = int(version.created_at.timestamp() * 1000)
    rest = int.from_bytes(hashlib.sha256(f"{version.task} {version.run_id}".encode()).digest()[:10], "big")
    number = (milliseconds << 80) | (0x7 << 76) | ((rest >> 64 & 0xFFF) << 64) | (0b10 << 62) | (rest & (2**62 - 1))
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
