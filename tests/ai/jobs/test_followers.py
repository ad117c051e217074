"""Streams of events: they end with their job, share one poll, and are bounded for each caller and in all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from ai_api.errors import LimitReached, QueueUnavailable
from ai_api.jobs import followers
from ai_api.jobs.followers import JobFollowers
from ai_api.jobs.job import Job, JobEvent
from ai_api.jobs.store import JobStore
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

SECONDS = 30


class CountingStore(JobStore):
    """Counts the readings of events; fails while `is_away`."""

    readings = 0
    is_away = False

    async def events(self, job_id: int, after: int) -> Sequence[JobEvent]:
        self.readings += 1
        if self.is_away:
            raise QueueUnavailable
        return await super().events(job_id, after)


@pytest.fixture
async def store(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CountingStore]:
    monkeypatch.setattr(followers, "POLL_SECONDS", 0.01)
    async with contextlib.aclosing(CountingStore(conninfo)) as opened:
        yield opened


async def running(store: JobStore) -> Job:
    added = await store.add("tweets", "logreg", {}, None)
    assert added is not None
    job = await store.take(added.id)
    assert job is not None
    return job


async def kinds(followed: AsyncIterator[Sequence[JobEvent]]) -> list[str]:
    """The kinds of all events until the end of the stream."""
    async with asyncio.timeout(SECONDS):
        return [event.kind async for events in followed for event in events]


async def test_a_stream_of_a_job_that_has_ended_ends_whatever_the_last_id_is(store: CountingStore) -> None:
    job = await running(store)
    await store.report(job, "progress", {"step": 1})
    await store.end(job, "succeeded", result={"version": 1})
    progress, result, end = await store.events(job.id, 0)
    jobs = JobFollowers(store)
    assert await kinds(jobs.follow(job.id, 0)) == ["progress", "result", "end"]
    assert await kinds(jobs.follow(job.id, progress.id)) == ["result", "end"]
    assert await kinds(jobs.follow(job.id, result.id)) == ["end"]
    for after in (end.id, end.id + 1, 2**62):
        assert await kinds(jobs.follow(job.id, after)) == []


async def test_a_stream_with_a_last_id_past_the_end_ends_when_its_running_job_ends(store: CountingStore) -> None:
    job = await running(store)
    jobs = JobFollowers(store)
    following = asyncio.create_task(kinds(jobs.follow(job.id, 2**62)))
    await eventually(lambda: store.readings > 1)
    assert not following.done()
    await store.end(job, "failed", error="no rows")
    assert await following == []


async def test_all_followers_of_a_job_share_one_poll_and_get_every_event(store: CountingStore) -> None:
    job = await running(store)
    jobs = JobFollowers(store)
    following = [asyncio.create_task(kinds(jobs.follow(job.id, 0))) for _ in range(50)]
    await eventually(lambda: store.readings > 1)
    before = store.readings
    await store.report(job, "progress", {"step": 1})
    await store.end(job, "succeeded")
    assert await asyncio.gather(*following) == [["progress", "end"]] * 50
    assert store.readings - before < 50
    assert not jobs._feeds


async def test_a_job_without_followers_is_not_polled(store: CountingStore) -> None:
    job = await running(store)
    jobs = JobFollowers(store)
    following = asyncio.create_task(kinds(jobs.follow(job.id, 0)))
    await eventually(lambda: store.readings > 1)
    (feed,) = jobs._feeds.values()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert feed.poll is not None
    await eventually(feed.poll.done)


async def test_a_stream_goes_on_after_postgres_was_away(store: CountingStore) -> None:
    job = await running(store)
    jobs = JobFollowers(store)
    following = asyncio.create_task(kinds(jobs.follow(job.id, 0)))
    store.is_away = True
    away_from = store.readings
    await eventually(lambda: store.readings > away_from + 1)
    await store.end(job, "succeeded")
    store.is_away = False
    assert await following == ["end"]


async def test_a_silent_stream_returns_nothing_from_time_to_time_and_ends_when_the_process_stops(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "KEEP_ALIVE_SECONDS", 0.01)
    job = await running(store)
    jobs = JobFollowers(store)
    followed = jobs.follow(job.id, 0)
    async with asyncio.timeout(SECONDS):
        assert [list(await anext(followed)) for _ in range(3)] == [[], [], []]
        jobs.end()
        assert [event async for events in followed for event in events] == []


def test_streams_are_bounded_for_each_caller_and_in_all_and_an_ended_one_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followers, "STREAMS_PER_CALLER", 2)
    monkeypatch.setattr(followers, "STREAMS", 3)
    jobs = JobFollowers(JobStore("nowhere"))
    with jobs.stream("ann"), jobs.stream("ann"):
        with pytest.raises(LimitReached, match="You follow 2 jobs"), jobs.stream("ann"):
            pass
        with jobs.stream("bob"), pytest.raises(LimitReached, match="3 streams are open"), jobs.stream("eve"):
            pass
    with jobs.stream("ann"), jobs.stream("ann"):
        pass
