"""What a Redis with these settings may lose, in sentences for the person who runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

NAMES = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save", "maxmemory-policy")

UNREADABLE = (
    "Redis does not let us read its settings (CONFIG is forbidden), so we cannot say what a power cut may lose; "
    "ask for appendonly yes, appendfsync always and maxmemory-policy noeviction."
)
NO_LOG = (
    "Redis keeps no append-only file (appendonly no): when it ends unexpectedly, every job accepted since its last "
    "snapshot is lost"
)
NO_SNAPSHOT = ", and it takes none on its own (save is empty)"
FSYNC = {
    "everysec": "Redis writes its append-only file to the disk once a second (appendfsync everysec): a power cut may "
    "lose up to a second of accepted jobs; where the disk is slow, so may a crash of Redis, and up to two seconds.",
    "no": "Redis leaves it to the system when its append-only file reaches the disk (appendfsync no): a power cut may "
    "lose about half a minute of accepted jobs.",
}
ON_REWRITE = (
    "Redis does not sync its append-only file while it rewrites it (no-appendfsync-on-rewrite yes): a power cut at "
    "such a time may lose about half a minute of accepted jobs."
)
EVICTION = (
    "Redis may drop keys when its memory is full (maxmemory-policy {policy}): jobs may be lost at any time; set it to "
    "noeviction."
)
EVICTION_VOLATILE = (
    "Redis may drop keys with a time limit when its memory is full (maxmemory-policy {policy}): events and idempotency "
    "keys may be lost at any time; set it to noeviction."
)
REPLICAS = (
    "Redis copies to its replicas after it has answered: a failover may lose the last jobs that it had accepted before."
)


def sentences(settings: Mapping[str, str] | None, facts: Mapping[str, str]) -> Iterator[str]:
    """What may be lost; `settings` as CONFIG GET gives them (None: forbidden), `facts` as INFO does."""
    said = dict(settings or {})
    if settings is None:
        yield UNREADABLE
        said["appendonly"] = {"0": "no", "1": "yes"}.get(facts.get("aof_enabled", ""), "")
        said["maxmemory-policy"] = facts.get("maxmemory_policy", "")
    if said.get("appendonly") == "no":
        yield NO_LOG + (NO_SNAPSHOT if said.get("save") == "" else "") + "."
    elif said.get("appendfsync") in FSYNC:
        yield FSYNC[said["appendfsync"]]
    elif said.get("no-appendfsync-on-rewrite") == "yes":
        yield ON_REWRITE
    policy = said.get("maxmemory-policy") or "noeviction"
    if policy != "noeviction":
        yield (EVICTION_VOLATILE if policy.startswith("volatile-") else EVICTION).format(policy=policy)
    if facts.get("connected_slaves", "0") != "0":
        yield REPLICAS
