"""What holds for every test: no network, quiet libraries, no settings taken over from the person at the keyboard."""

from __future__ import annotations

import os

# Before any test imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads must not take the cores from those that work
for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
    del os.environ[name]
# Files run side by side, one a core: more threads each would only take turns. What is about threads sets its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["DARKROOM_THREADS"] = "1"
