"""The alias `champion` of a task's registered model, and the tags that say what it was before.

Volant records each of its own moves in a tag of the model. An alias that differs from that record was moved or removed
by somebody in MLflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .connection import MlflowConnection
from .entities import created

CHAMPION = "champion"
RECORDED, REMOVED, REPLACED = "volant.champion", "volant.removed", "volant.replaced"
"""Tags: of the model, the champion by Volant's record and the one whose alias was removed; of a version, the champion
that it replaced.
"""


@dataclass(frozen=True)
class ChampionAlias:
    """Where the alias is now. `number` None: nowhere. `recorded`: the champion by Volant's own record.

    `registered_at` is the creation time of the registered model, None without one: the same number in a model that was
    deleted and made anew is another version.
    """

    number: int | None = None
    recorded: int | None = None
    removed: int | None = None
    registered_at: datetime | None = None

    @property
    def was_moved_in_mlflow(self) -> bool:
        """Whether somebody moved or removed it there since Volant's last record."""
        return self.number != self.recorded


class ChampionAliases:
    """The champion aliases of one MLflow server. Every call blocks."""

    def __init__(self, connection: MlflowConnection) -> None:
        self._connection = connection

    def read(self, task: str) -> ChampionAlias:
        """The alias as it is now. RegistryUnavailable when MLflow does not respond in time."""
        model = self._connection.registered_model(task)
        if model is None:
            return ChampionAlias()
        tags = model.tags
        return ChampionAlias(
            number=_number(model.aliases.get(CHAMPION)),
            recorded=_number(tags.get(RECORDED)),
            removed=_number(tags.get(REMOVED)),
            registered_at=created(model),
        )

    def move(self, task: str, number: int) -> None:
        """Moves the alias, then records it. After a crash between the two it looks like a move made in MLflow."""
        with self._connection.client() as client:
            client.set_registered_model_alias(task, CHAMPION, str(number))
        self.record(task, number)

    def record(self, task: str, number: int) -> None:
        """Records the champion that the alias names now."""
        with self._connection.client() as client:
            client.set_registered_model_tag(task, RECORDED, str(number))

    def record_removal(self, task: str, removed: int) -> None:
        """Records that the alias is gone, and which version had it."""
        with self._connection.client() as client:
            client.set_registered_model_tag(task, REMOVED, str(removed))
            client.set_registered_model_tag(task, RECORDED, "")

    def set_replaced(self, task: str, number: int, replaced: int | None) -> None:
        """Tags a version with the champion that it replaces, which a rollback brings back."""
        with self._connection.client() as client:
            client.set_model_version_tag(task, str(number), REPLACED, "" if replaced is None else str(replaced))

    def replaced_by(self, task: str, number: int) -> int | None:
        """The champion that a version replaced; None when it replaced none."""
        with self._connection.client() as client:
            return _number(client.get_model_version(task, str(number)).tags.get(REPLACED))


def _number(text: str | int | None) -> int | None:
    return int(text) if text is not None and str(text).isdecimal() else None
