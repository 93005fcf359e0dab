"""The progress bar over images holds none of them once it has handed them on."""

from __future__ import annotations

import gc
import weakref

from darkroom.cli.progress import watch
from darkroom.engine.handle import Handle


class Picture:
    """Stands for what a pipeline returned."""


def ended() -> tuple[Handle, weakref.ref[Picture]]:
    handle, picture = Handle(), Picture()
    handle.emit("progress", step=4, steps=4, progress=1.0)
    handle.finish("succeeded", result=picture)
    return handle, weakref.ref(picture)


def test_an_image_that_was_handed_on_is_let_go_while_others_are_made() -> None:
    handles, kept = zip(*(ended() for _ in range(3)), strict=True)
    waiting = dict(enumerate(handles))
    del handles
    seen = []
    for number, handle in watch(waiting, [4, 4, 4]):
        assert handle.done()
        del handle
        gc.collect()
        seen.append(number)
        assert [picture() is None for picture in kept] == [k in seen for k in range(3)]
    assert seen == [0, 1, 2]
