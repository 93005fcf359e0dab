"""What a job cost, in seconds and dollars."""

from __future__ import annotations

from .attempt import Attempt

HOUR_S = 3600.0


def metrics_of(attempt: Attempt, price_per_hour_usd: float) -> dict[str, float]:
    """Seconds by what they went to; of images made side by side the longest counts, but device seconds add up.

    `queued_s` is until the claim, and in the engine until there was memory; `load_s` until model and pictures were
    there. `resumed_from_step` is there where it went on from a tape.
    """
    parts = [handle.metrics for handle in attempt.handles]
    longest = {name: max((part[name] for part in parts), default=0.0) for name in ("queued_s", "denoise_s", "decode_s")}
    device_s = sum(part["device_s"] for part in parts)
    times = attempt.job.times
    waited_s = max(0.0, times.get("started", 0.0) - times.get("queued", times.get("started", 0.0)))
    return {
        "queued_s": waited_s + longest["queued_s"],
        "load_s": attempt.load_s,
        "denoise_s": longest["denoise_s"],
        "decode_s": longest["decode_s"],
        "upload_s": attempt.upload_s,
        "device_s": device_s,
        "cost_usd": device_s * price_per_hour_usd / HOUR_S,
        **({} if attempt.resumed_from_step is None else {"resumed_from_step": float(attempt.resumed_from_step)}),
    }
