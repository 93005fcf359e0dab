"""The batcher's promises, over toy calls and drawn loads."""

from __future__ import annotations

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


def make(batching: bool = True, **more: int) -> Batcher:
    return Batcher(lambda call: CAP, batching, **more)


toys = st.builds(
    Toy,
    key=st.sampled_from("abc"),
    rows=st.integers(1, 12),
    kind=st.sampled_from(["denoise", "decode", "control"]),
    parked_at=st.floats(0, 5),
    deadline=st.none() | st.floats(0, 20),
    priority=st.integers(-3, 3),
    follows_control=st.booleans(),
).map(lambda toy: Toy(**{**toy.__dict__, "key": f"{toy.kind}-{toy.key}"}))


@given(st.lists(toys, max_size=40))
def test_every_call_runs_exactly_once(waiting: list[Toy]) -> None:
    batcher, now, ran = make(), 5.0, []
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


streams_drawn = st.lists(
    st.tuples(st.none() | st.floats(0, 100), st.integers(-3, 3), st.booleans()), min_size=1, max_size=40
)


@settings(deadline=None)
@given(streams_drawn, st.booleans())
def test_no_key_waits_longer_than_its_bound(drawn: list[tuple[float | None, int, bool]], has_decodes: bool) -> None:
    """Streams that park anew after every forward, some urgent for ever, against the starvation bound."""
    batcher = make()
    streams = [
        Toy(f"{i}", deadline=deadline, priority=priority, follows_control=follows)
        for i, (deadline, priority, follows) in enumerate(drawn)
    ]
    if has_decodes:
        streams.append(Toy("decode", kind="decode"))
    now, longest = 0.0, 0.0
    for _ in range(200):
        for call in batcher.next_batch(streams, now):
            longest = max(longest, now - call.parked_at)
            call.parked_at = now + FORWARD_S
        now += FORWARD_S
    unserved = max(now - call.parked_at for call in streams)
    # starved calls are served oldest first, one key a forward, with at most every second forward a decode
    assert max(longest, unserved) <= batcher.starve_s + (2 * len(streams) + 2) * FORWARD_S


def test_the_most_urgent_calls_key_runs_not_the_fullest() -> None:
    crowd = [Toy("crowd", parked_at=1.0) for _ in range(5)]
    hurried = Toy("other", parked_at=2.0, deadline=3.5)
    assert make().next_batch([*crowd, hurried], 3.0) == [hurried]


def test_a_denoiser_runs_right_behind_its_controlnet() -> None:
    behind = Toy("unet", parked_at=2.0, follows_control=True)
    assert make().next_batch([Toy("sdxl", parked_at=0.0, priority=3), behind], 3.0) == [behind]


def test_higher_priority_goes_first() -> None:
    important = Toy("a", parked_at=2.0, priority=1)
    assert make().next_batch([Toy("b", parked_at=0.0), important], 3.0) == [important]


def test_decoding_takes_a_bounded_share_of_ticks() -> None:
    batcher = make(decode_every=3)
    waiting = [Toy("unet"), *(Toy(f"vae{i}", kind="decode") for i in range(9))]
    kinds = []
    for _ in range(9):
        batch = batcher.next_batch(waiting, 1.0)
        kinds.append(batch[0].kind)
        if batch[0].kind == "decode":
            waiting.remove(batch[0])
    assert kinds.count("decode") == 3


def test_decodes_run_at_once_when_nothing_else_waits() -> None:
    assert len(make().next_batch([Toy("vae", kind="decode"), Toy("vae", kind="decode")], 1.0)) == 2


def test_a_call_larger_than_the_cap_runs_alone() -> None:
    large = Toy("a", rows=50, parked_at=0.0)
    assert make().next_batch([large, Toy("a", parked_at=1.0)], 2.0) == [large]


def test_nothing_waits_nothing_runs() -> None:
    assert make().next_batch([], 0.0) == []
