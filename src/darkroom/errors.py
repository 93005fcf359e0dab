"""Every error Darkroom raises.

    DarkroomError                     code             HTTP  exit
    |-- BadInput                      bad_input         400   2    names the field and what is allowed
    |   |-- UnknownArgument           unknown_argument  400        a keyword the pipeline does not take
    |   |-- UnknownModel              unknown_model     404
    |   |-- UnknownSolver             unknown_solver    400
    |   |-- UnknownPreset             unknown_preset    400
    |   |-- UnknownAdapter            unknown_adapter   400
    |   |-- SizeNotOffered            size_not_offered  400
    |   |-- UnreadableImage           unreadable_image  400
    |   |-- MaskSizeMismatch          mask_size         400
    |   |-- OutputNotWritable         output_not_writable 400
    |   |-- InvalidConfig             invalid_config    500        darkroom.toml or the environment
    |   |-- ModelNotServable          model_not_servable 400       peft layers, offload or cache hooks, compiled modules
    |   |-- MissingWeights            missing_weights   500
    |   |-- CorruptWeights            corrupt_weights   500
    |   |-- CorruptTape               corrupt_tape      400        bytes that are no tape, or not all of one
    |   |-- UnsafeWeights             unsafe_weights    400        pickle or remote code without leave
    |   |-- ContentRefused            content_refused   400        a prompt or a picture that the safety rules refuse
    |   `-- NotSupported              not_supported     501        named in the interface, not built yet
    |-- Unauthorised                  unauthorised      401   1
    |-- Forbidden                     forbidden         403   1
    |-- NotFound                      not_found         404   1    a job, artifact or worker of that id; or a route
    |-- WrongMethod                   method_not_allowed 405  1    the route does not take that HTTP method
    |-- Conflict                      conflict          409   1
    |   |-- IdempotencyConflict       idempotency_conflict 409     the same key with another request
    |   |-- JobNotFinal               job_not_final     409        only a finished job can be deleted
    |   |-- LeaseLost                 lease_lost        409        another claim followed; nothing was written
    |   `-- TapeRefused               tape_refused      409        of another model, version or request: start over
    |-- TooLarge                      too_large         413   1    a body, an upload or a picture past its limit
    |-- TooBusy                       too_busy          429   1    says when to come back
    |   |-- QueueFull                 queue_full        429
    |   `-- LimitExceeded             limit_exceeded    429        of a key; says which limit, and when it frees
    |-- Unavailable                   unavailable       503   1    says when to come back
    |   |-- StoreUnavailable          store_unavailable 503        the job store cannot be reached
    |   |-- StorageUnavailable        storage_unavailable 503      artifacts cannot be read or written
    |   |-- DriverUnavailable         driver_unavailable 503       Ray or Kubernetes does not answer, or refuses
    |   `-- OutOfMemory               out_of_memory     503        of the device or the host
    |-- StoreCorrupt                  store_corrupt     500   1    the database is damaged; it is left untouched
    |-- WorkerDied                    worker_died       500   1    the process that ran it ended
    |-- JobCancelled                  cancelled         409   1
    |-- DeadlineExceeded              deadline_exceeded 504   1
    |-- EngineClosed                  engine_closed     503   1
    |-- PipelineFailed                pipeline_failed   500   1    a plain pipeline's own code raised an error
    |-- NotFinite                     not_finite        500   1    NaN or infinity reached the decoder, or left it
    `-- InvariantBroken               internal          500   1    a fault of ours
        `-- EngineBroken              engine_broken     500        it ended the engine, whatever request it came from

The message is for a stranger: what is wrong, which field, what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime


class DarkroomError(Exception):
    """Something Darkroom refuses or could not do."""

    code = "internal"
    http_status = 500
    exit_code = 1
    request_id: str | None = None  # of the request that was refused, where a client tells of it

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class BadInput(DarkroomError):
    """A value from the caller is not allowed; `field` names it."""

    code = "bad_input"
    http_status = 400
    exit_code = 2


class UnknownArgument(BadInput):
    """The pipeline's `__call__` takes no such keyword."""

    code = "unknown_argument"


class UnknownModel(BadInput):
    """No model of that name is served."""

    code = "unknown_model"
    http_status = 404


class UnknownSolver(BadInput):
    """No solver of that name fits the model."""

    code = "unknown_solver"


class UnknownPreset(BadInput):
    """The model has no preset of that name."""

    code = "unknown_preset"


class UnknownAdapter(BadInput):
    """No adapter of that name is known."""

    code = "unknown_adapter"


class SizeNotOffered(BadInput):
    """The model does not offer that width and height."""

    code = "size_not_offered"


class UnreadableImage(BadInput):
    """The bytes given are not an image that can be read."""

    code = "unreadable_image"


class MaskSizeMismatch(BadInput):
    """The mask has another size than the image."""

    code = "mask_size"


class OutputNotWritable(BadInput):
    """The place for the output is missing or cannot be written."""

    code = "output_not_writable"


class InvalidConfig(BadInput):
    """A setting in `darkroom.toml` or the environment is not valid."""

    code = "invalid_config"
    http_status = 500


class ModelNotServable(BadInput):
    """A component carries state that would leak between requests."""

    code = "model_not_servable"


class MissingWeights(BadInput):
    """A model's files are not where its entry says."""

    code = "missing_weights"
    http_status = 500


class CorruptWeights(BadInput):
    """A model's files cannot be read as weights."""

    code = "corrupt_weights"
    http_status = 500


class CorruptTape(BadInput):
    """The bytes are no tape, or not all of one."""

    code = "corrupt_tape"


class UnsafeWeights(BadInput):
    """The model needs pickle or remote code, which its entry does not allow."""

    code = "unsafe_weights"


class ContentRefused(BadInput):
    """The safety rules refuse the prompt, or a picture that was made; what they saw is not quoted."""

    code = "content_refused"


class NotSupported(BadInput):
    """The interface names it, and it does not exist yet."""

    code = "not_supported"
    http_status = 501


class Unauthorised(DarkroomError):
    """No key, or one that is not known."""

    code = "unauthorised"
    http_status = 401


class Forbidden(DarkroomError):
    """The caller may not do that here."""

    code = "forbidden"
    http_status = 403


class NotFound(DarkroomError):
    """There is no such job, artifact, worker or route, or it is somebody else's."""

    code = "not_found"
    http_status = 404


class WrongMethod(DarkroomError):
    """The route does not take that HTTP method."""

    code = "method_not_allowed"
    http_status = 405


class Conflict(DarkroomError):
    """What is asked does not fit the present state."""

    code = "conflict"
    http_status = 409


class IdempotencyConflict(Conflict):
    """The idempotency key was used for another request."""

    code = "idempotency_conflict"


class JobNotFinal(Conflict):
    """The job has not ended yet."""

    code = "job_not_final"


class LeaseLost(Conflict):
    """Another claim followed, or the job ended: the writer no longer holds it."""

    code = "lease_lost"


class TapeRefused(Conflict):
    """The tape is of another model, version or request: start over."""

    code = "tape_refused"


class TooLarge(DarkroomError):
    """A body, an upload or a picture is past its limit."""

    code = "too_large"
    http_status = 413


class TooBusy(DarkroomError):
    """Refused for now; `retry_after_s` says when to come back."""

    code = "too_busy"
    http_status = 429
    retry_after_s = 1.0


class QueueFull(TooBusy):
    """The queue is at its limit."""

    code = "queue_full"


class LimitExceeded(TooBusy):
    """A key has used what it may; `field` names the limit, `retry_after_s` says when it frees."""

    code = "limit_exceeded"


class Unavailable(DarkroomError):
    """Something needed cannot be reached just now; `retry_after_s` says when to come back."""

    code = "unavailable"
    http_status = 503
    retry_after_s = 1.0


class StoreUnavailable(Unavailable):
    """The job store cannot be reached or written."""

    code = "store_unavailable"


class StorageUnavailable(Unavailable):
    """Artifacts cannot be read or written."""

    code = "storage_unavailable"


class DriverUnavailable(Unavailable):
    """What starts workers, Ray or Kubernetes, does not answer, or refuses."""

    code = "driver_unavailable"


class OutOfMemory(Unavailable):
    """The device or the host ran out of memory; with less beside it, it may fit."""

    code = "out_of_memory"


class StoreCorrupt(DarkroomError):
    """The database is damaged; it was left untouched."""

    code = "store_corrupt"


class WorkerDied(DarkroomError):
    """The process that ran the job ended."""

    code = "worker_died"


class JobCancelled(DarkroomError):
    """The request was cancelled before it finished."""

    code = "cancelled"
    http_status = 409


class DeadlineExceeded(DarkroomError):
    """The request's deadline passed before it finished."""

    code = "deadline_exceeded"
    http_status = 504


class EngineClosed(DarkroomError):
    """The engine no longer takes requests."""

    code = "engine_closed"
    http_status = 503


class PipelineFailed(DarkroomError):
    """The function of a plain pipeline raised an error."""

    code = "pipeline_failed"


class NotFinite(DarkroomError):
    """NaN or infinity reached the decoder or came out of it; the picture would be black or noise."""

    code = "not_finite"


class InvariantBroken(DarkroomError):
    """A fault of Darkroom's own; please report it."""


class EngineBroken(InvariantBroken):
    """A fault of Darkroom's own has ended the engine; no request is to blame for sure."""

    code = "engine_broken"


def kind_of(code: str, otherwise: type[DarkroomError]) -> type[DarkroomError]:
    """The class that brought a code; "internal", which the root has too, is a fault of ours."""
    if code == InvariantBroken.code:
        return InvariantBroken
    return next((kind for kind in every_kind() if vars(kind).get("code") == code), otherwise)


def every_kind(root: type[DarkroomError] = DarkroomError) -> Iterator[type[DarkroomError]]:
    """The tree, parents first."""
    yield root
    for child in root.__subclasses__():
        yield from every_kind(child)


def retry_after_s(said: str | None, now: float) -> float | None:
    """A Retry-After header in seconds (RFC 9110, section 10.2.3: seconds, or a date); None where it says neither."""
    if said is None:
        return None
    if said.isascii() and said.isdigit():
        return float(said[:12])
    try:
        moment = parsedate_to_datetime(said)
        return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return None
