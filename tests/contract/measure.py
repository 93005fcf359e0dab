"""What a store's verbs cost: prints, and judges nothing.

    python -m tests.contract.measure sqlite:////tmp/measure/jobs.sqlite3 [--finished 100000]
    python -m tests.contract.measure redis://127.0.0.1:6379/15

The store should be empty before, and holds rubbish after.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable

from darkroom.core import Job, Lease
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import JobFilter, Store
from tests.contract.making import artifact, claimant, lease, new_job, report

PREVIEW = "data:image/jpeg;base64," + "x" * 8000


def insert(store: Store, group: int, count: int) -> list[str]:
    """Insert that many jobs, so many at once; their ids."""
    made = [new_job(f"tenant-{number % 7}") for number in range(count)]
    for start in range(0, count, group):
        store.insert(made[start : start + group], time.time())
    return [job.id for job in made]


def show(name: str, seconds: list[float], cpu_s: float | None = None) -> None:
    """Print what one of them took; the processor's share is ours alone, whoever else is at work."""
    ordered = sorted(seconds)
    median, high = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    cpu = "" if cpu_s is None else f"   cpu {cpu_s / len(ordered) * 1e6:7.0f} us"
    print(f"{name:28} median {median * 1e6:9.0f} us   p99 {high * 1e6:9.0f} us{cpu}   n {len(ordered)}")


def time_it(name: str, count: int, action: Callable[[int], object]) -> None:
    """Run it so many times and print what one run took."""
    taken, cpu = [], time.process_time()
    for number in range(count):
        start = time.perf_counter()
        action(number)
        taken.append(time.perf_counter() - start)
    show(name, taken, time.process_time() - cpu)


def finish(store: Store, count: int) -> None:
    """Leave a history of ended jobs."""
    while count > 0:
        insert(store, 500, 500)
        for job in store.claim(claimant(), 500, time.time()):
            store.cancel(job.id, time.time())
            store.confirm_cancelled(lease(job), {}, time.time())
        count -= 500


def measure_inserts(store: Store) -> None:
    """Durable inserts a second, alone and in groups."""
    for group, count in ((1, 300), (16, 1600), (64, 6400)):
        start, cpu = time.perf_counter(), time.process_time()
        names = insert(store, group, count)
        each_s, cpu_s = (time.perf_counter() - start) / count, (time.process_time() - cpu) / count
        rest = f"{each_s * group * 1e3:.2f} ms a group   cpu {cpu_s * 1e6:.0f} us a job"
        print(f"insert in groups of {group:<8} {1 / each_s:9.0f} jobs/s   {rest}")
        for name in names:
            store.cancel(name, time.time())


def measure_a_life(store: Store, count: int) -> None:
    """The verbs of one job after another, with a queue behind them."""
    names = insert(store, 64, count + 500)
    claimed: list[Job] = []
    time_it("claim 1", count, lambda _: claimed.extend(store.claim(claimant(), 1, time.time())))
    held: list[Lease] = [lease(job) for job in claimed]
    time_it("report_step", count, lambda n: store.report_step(held[n], 1, 20, time.time()))
    time_it("report_step with preview", count, lambda n: store.report_step(held[n], 2, 20, time.time(), PREVIEW))
    time_it("heartbeat of 8 leases", 50, lambda _: store.heartbeat(report(at=time.time()), held[:8], time.time()))
    time_it("cancelling", count, lambda _: store.cancelling("w"))
    time_it("claim in vain", count, lambda _: store.claim(claimant(models=("none",)), 1, time.time()))
    time_it("get, running", count, lambda n: store.get(held[n].job_id))
    time_it("position, 500 queued", count, lambda n: store.position(names[-1 - n]))
    time_it("queue", count, lambda _: store.queue())
    time_it("list 50", 50, lambda _: store.list_jobs(JobFilter()))
    time_it("list 50 of a tenant", 50, lambda _: store.list_jobs(JobFilter(tenant="tenant-3")))
    made = [[artifact(job)] for job in claimed]
    time_it("complete", count, lambda n: store.complete(held[n], made[n], {"device_s": 1.0}, time.time()))
    time_it("get, succeeded", count, lambda n: store.get(held[n].job_id))
    time_it("events of a job", count, lambda n: store.events(held[n].job_id, 0))
    time_it("rescue with nothing to do", count, lambda _: store.rescue(time.time()))


def measure_delay(store: Store, other: Store, count: int) -> None:
    """From a step to a reader on another handle that waits in `tail`."""
    insert(store, 1, 1)
    (job,) = store.claim(claimant(), 1, time.time())
    reached, _ = other.tail(None, 0.0)
    heard: list[float] = []

    def listen() -> None:
        after = reached
        while len(heard) < count:
            after, noted = other.tail(after, 5.0)
            heard.extend(time.time() - one.event.at for one in noted)

    listener = threading.Thread(target=listen)
    listener.start()
    for step in range(count):
        store.report_step(lease(job), step, count, time.time())
        time.sleep(0.02)
    listener.join()
    show("step to waiting reader", heard)


def main() -> None:
    """Measure the store that is named on the command line."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("url")
    words.add_argument("--finished", type=int, default=0, help="ended jobs to make first")
    words.add_argument("--count", type=int, default=300)
    given = words.parse_args()
    store, other = open_store(given.url), open_store(given.url)
    finish(store, given.finished)
    measure_inserts(store)
    measure_a_life(store, given.count)
    measure_delay(store, other, 100)
    store.close()
    other.close()


if __name__ == "__main__":
    main()
