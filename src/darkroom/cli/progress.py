"""A progress bar over denoising steps, with steps a second, on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:
    from ..engine.handle import Handle

POLL_S = 0.05


class StepsPerSecond(ProgressColumn):
    """Steps of all images together, by wall-clock time since the bar began."""

    def render(self, task: Task) -> Text:
        elapsed_s = task.finished_time or task.elapsed or 0.0
        return Text(f"{task.completed / elapsed_s:.1f} steps/s" if elapsed_s else "- steps/s")


def watch(handles: Sequence[Handle], steps: Sequence[int]) -> Iterator[int]:
    """Draw the bar until every handle is done; yields the number of each as it ends. `steps` is what each will run."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total} steps"))
    waiting = dict(enumerate(handles))
    with Progress(*columns, StepsPerSecond(), TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("1 image" if len(handles) == 1 else f"{len(handles)} images", total=sum(steps))
        while waiting:
            ended = [number for number, handle in waiting.items() if handle.done()]
            done = sum(handle.progress * count for handle, count in zip(handles, steps, strict=True))
            bar.update(task, completed=round(done))
            for number in ended:
                del waiting[number]
                yield number
            if not ended:
                time.sleep(POLL_S)
