"""One client's queue: bounded, never at the price of a transition."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from darkroom.core import Event
from darkroom.gateway.listeners import DROPPABLE, PENDING, PENDING_OF_ALL, Listener, WideListener

KINDS = ["queued", "started", "requeued", "progress", "preview", "output", "succeeded"]


def taken(listener: Listener) -> list[Event]:
    async def take() -> list[Event]:
        found = []
        while (event := await listener.next(0.0)) is not None:
            found.append(event)
        return found

    return asyncio.run(take())


@given(st.lists(st.sampled_from(KINDS), max_size=3 * PENDING))
def test_a_slow_client_loses_progress_and_previews_or_is_sent_to_the_store(kinds: list[str]) -> None:
    listener = Listener("job-1")
    events = [Event(seq, 0.0, kind) for seq, kind in enumerate(kinds)]
    for event in events:
        listener.push(event)
    got = taken(listener)
    assert len(got) <= PENDING
    assert [event.seq for event in got] == sorted(event.seq for event in got)
    lost = [event for event in events if event not in got]
    assert listener.is_stale or all(event.type in DROPPABLE for event in lost)


def test_of_previews_only_the_latest_waits() -> None:
    listener = Listener("job-1")
    for seq in range(10):
        listener.push(Event(seq, 0.0, "preview"))
    assert [event.seq for event in taken(listener)] == [9]


def test_who_waits_for_the_end_hears_of_transitions_alone() -> None:
    listener = Listener("job-1", waits=True)
    for seq, kind in enumerate(KINDS):
        listener.push(Event(seq, 0.0, kind))
    assert [event.type for event in taken(listener)] == [kind for kind in KINDS if kind not in DROPPABLE]


def test_a_queue_full_of_transitions_is_given_up_for_the_store() -> None:
    listener = Listener("job-1")
    for seq in range(PENDING + 1):
        listener.push(Event(seq, 0.0, "requeued"))
    assert listener.is_stale
    assert taken(listener) == []


def test_a_fast_client_loses_nothing() -> None:
    async def play() -> list[int]:
        listener, got = Listener("job-1"), []
        for seq in range(1000):
            listener.push(Event(seq, 0.0, "progress"))
            event = await listener.next(1.0)
            assert event is not None
            got.append(event.seq)
        return got

    assert asyncio.run(play()) == list(range(1000))


def test_a_client_that_waits_is_woken_by_an_event_and_by_the_end() -> None:
    async def play() -> None:
        listener = Listener("job-1")
        waiting = asyncio.ensure_future(listener.next(60.0))
        await asyncio.sleep(0)
        listener.push(Event(1, 0.0, "started"))
        assert (await waiting) == Event(1, 0.0, "started")
        waiting = asyncio.ensure_future(listener.next(60.0))
        await asyncio.sleep(0)
        listener.close()
        assert (await waiting) is None

    asyncio.run(play())


def of_job(seq: int, kind: str, job: str = "job-1") -> Event:
    return Event(seq, 0.0, kind, {"job_id": job})


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(["a", "b", "c"])), max_size=200))
def test_who_follows_all_jobs_and_is_slow_has_each_transition_and_each_jobs_latest_step(
    said: list[tuple[str, str]],
) -> None:
    listener = WideListener(None, "local")
    events = [of_job(seq, kind, job) for seq, (kind, job) in enumerate(said)]
    for event in events:
        listener.hear("any", event)
    latest = {(event.type, event.data["job_id"]): event for event in events if event.type in DROPPABLE}
    assert taken(listener) == [event for event in events if event.type not in DROPPABLE or event in latest.values()]


def test_a_wide_queue_full_of_transitions_is_given_up_for_the_store_and_one_full_of_steps_is_not() -> None:
    listener = WideListener(None, "local")
    for seq in range(2 * PENDING_OF_ALL):
        listener.hear(None, of_job(seq, "progress", f"job-{seq}"))
    assert not listener.is_stale
    for seq in range(2 * PENDING_OF_ALL, 3 * PENDING_OF_ALL + 1):
        listener.hear(None, of_job(seq, "started"))
    assert listener.is_stale


def test_what_others_did_counts_as_seen_only_while_nothing_waits() -> None:
    listener = WideListener("owl", "owl")
    listener.hear("hare", of_job(5, "started"))
    assert listener.seen == 5
    listener.hear("owl", of_job(6, "started"))
    listener.hear("hare", of_job(7, "started"))
    assert listener.seen == 5
    assert [event.seq for event in taken(listener)] == [6]
