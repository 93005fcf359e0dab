"""The batcher's promises, over toy calls and drawn loads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.engine.batcher import Batcher

CAP = 8
FORWARD_S = 1.0


@dataclass(eq=False)
class Toy:
    key: str
    rows: int = 1
    kind: str = "denoise"
    parked_at: float = 0.0
    deadline: float | None = None
    priority: int = 0
    follows_control: bool = False
    due: float = 0.0
    remaining_s: float = 0.0
    is_begun: bool = True


def make(batching: bool = True, cap: int = CAP) -> Batcher:
    return Batcher(lambda call: cap, batching)


toys = st.builds(
    Toy,
    key=st.sampled_from("abc"),
    rows=st.integers(1, 12),
    kind=st.sampled_from(["denoise", "decode", "control"]),
    parked_at=st.floats(0, 5),
    deadline=st.none() | st.floats(0, 20),
    priority=st.integers(-3, 3),
    follows_control=st.booleans(),
    due=st.floats(0, 20),
    remaining_s=st.floats(0, 20),
    is_begun=st.booleans(),
).map(lambda toy: Toy(**{**toy.__dict__, "key": f"{toy.kind}-{toy.key}"}))


@given(st.lists(toys, max_size=40), st.booleans())
def test_every_call_runs_exactly_once(waiting: list[Toy], is_cost_known: bool) -> None:
    batcher, now, ran = make(), 5.0, []
    if is_cost_known:
        batcher.seconds = lambda call, rows: 0.5 + 0.1 * rows
    left = list(waiting)
    while left:
        batch = batcher.next_batch(left, now)
        assert batch, "calls wait and none runs"
        ran.extend(batch)
        left = [call for call in left if call not in batch]
        now += FORWARD_S
    assert sorted(map(id, ran)) == sorted(map(id, waiting))


@given(st.lists(toys, min_size=1, max_size=40))
def test_a_batch_shares_one_key_and_keeps_the_cap(waiting: list[Toy]) -> None:
    batch = make().next_batch(waiting, 5.0)
    assert len({call.key for call in batch}) == 1
    assert len(batch) == 1 or sum(call.rows for call in batch) <= CAP


@given(st.lists(toys, min_size=1, max_size=40))
def test_without_batching_every_call_runs_alone(waiting: list[Toy]) -> None:
    assert len(make(batching=False).next_batch(waiting, 5.0)) == 1


@settings(deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.booleans())
def test_urgency_starves_nobody(priorities: list[int], is_hurried: bool) -> None:
    """Streams of new requests, each request one call, one of them urgent for ever, against the bound on waiting."""
    batcher, now, longest = make(), 0.0, 0.0
    streams = [Toy(f"{place}", priority=priority) for place, priority in enumerate(priorities)]
    streams.append(Toy("urgent", priority=9))
    for _ in range(300):
        streams[-1].deadline = now + 2.0 if is_hurried else None
        for call in batcher.next_batch(streams, now):
            longest = max(longest, now - call.parked_at)
            call.parked_at = call.due = now + FORWARD_S
        now += FORWARD_S
    unserved = max(now - call.parked_at for call in streams)
    # one turn in four goes to whoever has waited longest of those that were overtaken for starve_s
    assert max(longest, unserved) <= batcher.starve_s + 4 * (len(streams) + 1) * FORWARD_S


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 12)), min_size=1, max_size=25))
def test_where_batching_does_not_pay_none_is_overtaken_by_what_comes_after_its_solo_time(
    drawn: list[tuple[float, int]],
) -> None:
    """So nobody waits longer than for what came first, and in its own seconds; and the device never idles."""
    batcher, now, ended = make(cap=1), 0.0, {}
    requests = [Toy("a", parked_at=at, due=at + steps, remaining_s=steps) for at, steps in drawn]
    for _ in range(sum(steps for _, steps in drawn) + len(drawn)):
        waiting = [one for one in requests if one.parked_at <= now and one.remaining_s > 0]
        if not waiting:
            now = min((one.parked_at for one in requests if one.remaining_s > 0), default=now)
            continue
        (ran,) = batcher.next_batch(waiting, now)
        now += FORWARD_S
        ran.remaining_s -= 1
        ran.parked_at = now
        if not ran.remaining_s:
            ended[id(ran)] = now
    for (at, steps), one in zip(drawn, requests, strict=True):
        ahead_s = sum(own for other, own in drawn if other <= at + steps)
        assert ended[id(one)] <= at + ahead_s + FORWARD_S  # the forward that ran when it came ends first


def test_the_most_urgent_calls_key_runs_not_the_fullest() -> None:
    crowd = [Toy("crowd", due=1.0) for _ in range(5)]
    hurried = Toy("other", due=9.0, deadline=3.5)
    assert make().next_batch([*crowd, hurried], 3.0) == [hurried]


def test_requests_of_one_rank_run_in_the_order_in_which_each_would_be_done_alone() -> None:
    long, short = Toy("long", parked_at=0.0, due=30.0), Toy("short", parked_at=9.0, due=12.0)
    assert make().next_batch([long, short], 10.0) == [short]


def test_a_denoiser_runs_right_behind_its_controlnet() -> None:
    behind = Toy("unet", due=9.0, follows_control=True)
    assert make().next_batch([Toy("sdxl", priority=3), behind], 3.0) == [behind]


def test_higher_priority_goes_first() -> None:
    important = Toy("a", due=9.0, priority=1)
    assert make().next_batch([Toy("b", due=0.0), important], 3.0) == [important]


def test_a_first_step_rides_in_a_full_batch_beside_the_most_urgent() -> None:
    crowd, new = [Toy("a", due=float(place)) for place in range(20)], Toy("a", due=50.0, is_begun=False)
    batch = make().next_batch([*crowd, new], 3.0)
    assert batch == [crowd[0], new, *crowd[1 : CAP - 1]]


def test_a_first_step_of_low_priority_rides_behind_what_goes_first() -> None:
    crowd = [Toy("a", due=float(place), priority=1) for place in range(20)]
    batch = make().next_batch([*crowd, Toy("a", is_begun=False)], 3.0)
    assert batch == crowd[:CAP]


def test_company_does_not_cost_a_deadline() -> None:
    """A forward of n rows takes n seconds: with twice its time left, the hurried one bears one other."""
    batcher = make()
    batcher.seconds = lambda call, rows: float(rows)
    hurried = Toy("a", deadline=6.0, remaining_s=3.0)
    batch = batcher.next_batch([hurried, *(Toy("a", due=1.0) for _ in range(6))], 0.0)
    assert batch[0] is hurried
    assert len(batch) == 2


def test_what_cannot_be_in_time_makes_nobody_else_late() -> None:
    hopeless, patient = Toy("a", deadline=4.0, remaining_s=9.0), Toy("b", due=3.0)
    assert make().next_batch([hopeless, patient], 0.0) == [patient]
    assert make().next_batch([hopeless], 0.0) == [hopeless]


def test_of_deadlines_that_cannot_all_be_kept_the_dearest_is_given_up() -> None:
    short = [Toy(f"{place}", deadline=6.9, remaining_s=2.0) for place in range(4)]
    long = Toy("long", deadline=6.5, remaining_s=6.0)
    assert make().next_batch([long, *short], 0.0)[0] in short


def test_a_deadline_of_higher_priority_is_given_up_last() -> None:
    long, short = Toy("a", deadline=6.5, remaining_s=6.0, priority=1), Toy("b", deadline=6.9, remaining_s=2.0)
    assert make().next_batch([short, long], 0.0) == [long]


def test_a_far_deadline_does_not_jump_the_queue() -> None:
    far, first = Toy("a", due=5.0, deadline=500.0, remaining_s=3.0), Toy("b", due=4.0)
    assert make().next_batch([far, first], 0.0) == [first]


def test_no_two_decodes_in_a_row_while_others_wait() -> None:
    batcher = make()
    waiting = [Toy("unet", due=math.inf), *(Toy(f"vae{i}", kind="decode") for i in range(9))]
    kinds = []
    for _ in range(9):
        batch = batcher.next_batch(waiting, 1.0)
        kinds.append(batch[0].kind)
        if batch[0].kind == "decode":
            waiting.remove(batch[0])
    assert kinds == ["decode", "denoise"] * 4 + ["decode"]


def test_an_urgent_call_does_not_wait_for_decodes() -> None:
    urgent = Toy("unet", priority=1)
    assert make().next_batch([Toy("vae", kind="decode"), urgent], 1.0) == [urgent]


def test_decodes_run_at_once_when_nothing_else_waits() -> None:
    assert len(make().next_batch([Toy("vae", kind="decode"), Toy("vae", kind="decode")], 1.0)) == 2


def test_a_call_larger_than_the_cap_runs_alone() -> None:
    large = Toy("a", rows=50, due=0.0)
    assert make().next_batch([large, Toy("a", due=1.0)], 2.0) == [large]


def test_nothing_waits_nothing_runs() -> None:
    assert make().next_batch([], 0.0) == []
