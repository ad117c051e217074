"""An outbox in a temporary folder, and a client whose data-api is a `receiver` in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ai_api.data_client import DataClient
from ai_api.outbox.outbox import Outbox
from tests.ai.outbox.receiver import Receiver
from tests.ai.support.data_api import client_of


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    opened = Outbox(tmp_path, max_rows=10_000)
    yield opened
    opened.close()


@pytest.fixture
async def client(receiver: Receiver) -> AsyncIterator[DataClient]:
    made = client_of(receiver)
    yield made
    await made.close()
