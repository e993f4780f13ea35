"""A measured run is a process of its own: seconds of the work alone, and peak memory of the process.

Belongs here: starting such a process and reading what it measured. Does not belong here: any work.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Measured:
    """What one run took; `facts` is whatever the work has to tell (counts that peers must agree on)."""

    seconds: float
    peak_mib: float
    facts: dict[str, Any] = field(default_factory=dict)


def peak_mib() -> float:
    """Peak resident memory of this process since it began, in MiB (not its parent's, as getrusage tells)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024


@contextmanager
def stopwatch() -> Iterator[dict[str, Any]]:
    """Time the block and tell the parent process, with the facts put into the yielded mapping."""
    facts: dict[str, Any] = {}
    began = time.perf_counter()
    yield facts
    seconds = time.perf_counter() - began
    sys.stdout.write("\n" + json.dumps({"seconds": seconds, "peak_mib": peak_mib(), "facts": facts}))


def run_apart(module: str, arguments: Sequence[str], *, environment: dict[str, str] | None = None) -> Measured:
    """Run `python -m module arguments` and return what its `stopwatch` told last."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr[-4000:]}")
    return Measured(**json.loads(done.stdout.rsplit("\n", 1)[-1]))


def best_of(rounds: int, peers: Mapping[str, tuple[str, Sequence[str]]], **more: Any) -> dict[str, Measured]:
    """Run the peers turn about, `rounds` times; the quickest run of each, with its own memory."""
    best: dict[str, Measured] = {}
    for _ in range(rounds):
        for name, (module, arguments) in peers.items():
            measured = run_apart(module, arguments, **more)
            if name not in best or measured.seconds < best[name].seconds:
                best[name] = measured
    return best
