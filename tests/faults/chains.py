"""Nights that are killed several times in a row and then left alone.

Belongs here: killing, and comparing what is left with a home in which nothing was ever killed. The moments come
from a seed that a failure names, so that the same chain can be run again (the machine's own timing is part of it).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from assets.dossiers.conform import CONFORMED
from assets.publications.manifest import verify
from assets.raw.tables import RAW_TABLES
from orchestration.settings import Home
from orchestration.upkeep import run_upkeep
from sandbox.population import DEFAULT_CLOCK, VIETNAM, build_population
from sandbox.server import RunningSandbox, running_sandbox
from tests.faults.nightly import UPKEEP
from warehouse.lake import Lake
from warehouse.tables import OUT_INDICATOR, RAW_QUARANTINE

DOSSIERS = 600
#: Kills of each of the two suites; THUOCDO_KILLS says how many in all.
KILLS = -(-int(os.environ.get("THUOCDO_KILLS", "200")) // 2)
SEEDS = range(2, 6)
START = datetime(2026, 10, 1, tzinfo=VIETNAM)
#: What says when something was stored or read differs from run to run by its nature.
_MOMENTS = frozenset({"extracted_at", "night", "quarantined_at", "window_start", "window_end", "modified_at"})


@dataclass
class Nightly:
    """The process that is told to run nights."""

    process: subprocess.Popen[str]
    with_upkeep: bool

    def night(self, home: Path, until: datetime, *, kill_after: float | None = None) -> dict[str, Any]:
        """Run one night of `home`; an error that is no kill fails the test."""
        command = {
            "home": str(home),
            "start": START.isoformat(),
            "until": until.isoformat(),
            "kill_after": kill_after,
            "with_upkeep": self.with_upkeep,
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert answer["error"] is None, answer["error"]
        return answer


@contextmanager
def nightly(sandbox: RunningSandbox, *, with_upkeep: bool) -> Iterator[Nightly]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.nightly", str(sandbox.province_file)]
    environment = {**os.environ, **sandbox.environment}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    ) as process:
        yield Nightly(process, with_upkeep)
        assert process.stdin
        process.stdin.close()


def contents(home: Path) -> dict[str, list[str]]:
    """Every row of every table, without the moments at which it was stored, in an order of its own."""
    lake = Lake(str(home / "lake"))
    tables = (*RAW_TABLES.values(), RAW_QUARANTINE, *CONFORMED, OUT_INDICATOR)
    return {
        table.name: sorted(
            repr({name: value for name, value in row.items() if name not in _MOMENTS})
            for row in lake.read(table).to_pylist()
        )
        for table in tables
    }


def _difference(these: list[str], those: list[str]) -> list[str]:
    return sorted((Counter(these) - Counter(those)).elements())


def _orphans(home: Path) -> list[str]:
    """Tables with files that no kept version knows, although an upkeep has just ended."""
    said = Home.from_environment({"THUOCDO_HOME": str(home)})
    report = run_upkeep(said, UPKEEP, now=datetime.now(UTC), is_dry=True)
    return [table.name for table in report.tables if table.removed_files]


def kill_nights(seed: int, root: Path, *, with_upkeep: bool) -> None:
    """The seed's share of the kills; tables, publication and files must then be those of an undisturbed home."""
    wanted = -(-KILLS // len(SEEDS))
    moments = random.Random(seed)
    with (
        running_sandbox(build_population(DOSSIERS, seed), home=root / "served") as sandbox,
        nightly(sandbox, with_upkeep=with_upkeep) as runner,
    ):
        homes = (root / f"home{number}" for number in count())
        calm = next(homes)
        first = runner.night(calm, DEFAULT_CLOCK)["seconds"]
        expected = contents(calm)
        done, chain = 0, 0
        while done < wanted:
            home, chain = next(homes), chain + 1
            for _ in range(moments.randint(3, 8)):
                killed = runner.night(home, DEFAULT_CLOCK, kill_after=moments.uniform(0.0, first))["killed"]
                done += killed
                if not killed:
                    break  # it was through before its moment came
            else:
                runner.night(home, DEFAULT_CLOCK)
            found = contents(home)
            for name, rows in expected.items():
                extra, lost = _difference(found[name], rows), _difference(rows, found[name])
                assert not extra + lost, f"seed {seed}, chain {chain}, {name}: too many {extra[:3]}, missing {lost[:3]}"
            assert verify(home / "published") == []
            assert not with_upkeep or _orphans(home) == [], f"seed {seed}, chain {chain}"
