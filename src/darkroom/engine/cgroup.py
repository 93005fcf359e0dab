"""What a container leaves to its processes (cgroup v2)."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # where a container's limits are told


def free_in_group(folder: Path) -> int:
    """Bytes that this container may still take; more than anybody has where nothing bounds it."""
    try:
        limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no container, or one without a limit: "max"
        return 2**63
    return max(0, limit - used + int(stat.get("inactive_file", 0)))  # pages that are given back when they are needed
