"""A progress bar over denoising steps, with steps a second, on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..wording import counted

if TYPE_CHECKING:
    from ..engine.handle import Handle

POLL_S = 0.05


class StepsPerSecond(ProgressColumn):
    """Steps of all images together, by wall-clock time since the bar began."""

    def render(self, task: Task) -> Text:
        elapsed_s = task.finished_time or task.elapsed or 0.0
        return Text(f"{task.completed / elapsed_s:.1f} steps/s" if elapsed_s else "- steps/s")


def watch(waiting: dict[int, Handle], steps: Sequence[int]) -> Iterator[tuple[int, Handle]]:
    """Draw the bar until every handle is done; takes each out as it ends and yields it. `steps` is what each will run.

    Nothing is kept of those that have ended: their pictures can be large, and there can be many.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total} steps"))
    ended_steps = 0.0
    with Progress(*columns, StepsPerSecond(), TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(counted(len(steps), "image"), total=sum(steps))
        while waiting:
            ended = [number for number, handle in waiting.items() if handle.done()]
            done = ended_steps + sum(handle.progress * steps[number] for number, handle in waiting.items())
            bar.update(task, completed=round(done))
            for number in ended:
                ended_steps += waiting[number].progress * steps[number]
                yield number, waiting.pop(number)
            if not ended:
                time.sleep(POLL_S)
