"""From a request to its tape, and from a tape to a request that goes on where it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .adapters import Loan
from .recording import Recording
from .request import Request
from .revision import identity_of
from .tape import Asked, Tape

if TYPE_CHECKING:
    from .served import Served


def recorded(request: Request, given: Mapping[str, Any], adapters: Mapping[str, float], *, is_on: bool) -> Request:
    """The same, and its handle gives out its tape: `given` and `adapters` as its submitter said them."""
    asked = Asked(request.served.name, given, request.seed, request.drawn, request.fixed_rows, dict(adapters))
    request.recording = Recording(by_content=request.fixed_rows > 0, is_on=is_on)
    request.handle.on_checkpoint(_Taper(request, asked).tape)
    return request


def resumed(
    tape: Tape,
    served: Served,
    fixed_rows: int,
    loan: Loan | None,
    arguments: dict[str, Any],
    *,
    is_on: bool,
    **more: Any,
) -> Request:
    """A request that replays what the tape has and records on; `arguments` are its own, `more` is its submitter's.

    Raises `TapeRefused` where the tape is of something else than what is served here.
    """
    try:
        tape.identity.check(identity_of(served, fixed_rows, _adapters_of(loan)))
        tape.check_arguments()
    except BaseException:
        if loan is not None:
            loan.give_back()
        raise
    asked = tape.asked
    given: dict[str, Any] = {"seed": asked.seed, "drawn": asked.drawn, "fixed_rows": fixed_rows, "loan": loan}
    request = Request(served=served, arguments=arguments, **given, **more)
    request.recording = Recording(tape.entries, by_content=fixed_rows > 0, is_on=is_on)
    request.handle.continue_from(tape.progress)
    request.handle.on_checkpoint(_Taper(request, asked, tape).tape)
    return request


class _Taper:
    """Makes the tapes of one request; what holds for all of them is read once."""

    def __init__(self, request: Request, asked: Asked, begun: Tape | None = None) -> None:
        self._request, self._asked, self._latest = request, asked, begun

    def tape(self) -> Tape:
        """As far as it has come; any thread may ask, and two at once ask for the same."""
        request, entries = self._request, self._request.recording.entries()
        if self._latest is None:
            identity = identity_of(request.served, request.fixed_rows, _adapters_of(request.loan))
            self._latest = Tape(identity, self._asked, self._asked.digest, ())
        return Tape(self._latest.identity, self._latest.asked, self._latest.digest, entries)


def _adapters_of(loan: Loan | None) -> Mapping[str, Any]:
    if loan is None:
        return {}
    digests = loan.digests
    return {name: (weight, digests[name]) for name, weight in loan.weights.items()}
