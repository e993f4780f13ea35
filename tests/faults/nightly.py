"""A process that runs nights and is killed: imports once, forks a child for every night.

Belongs here: the loop that a test drives through pipes, one line a command. Does not belong here: when to
kill, or any expectation. A night that is killed with SIGKILL ends as in a power cut of the process: nothing
is flushed, no `finally` runs.

Commands on standard input, one JSON object each: {"home", "start", "until", "with_upkeep", "kill_after"} (seconds,
or null for never). The answer on standard output is {"killed": bool, "seconds": float, "error": text or null}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assets.dossiers.conform import conform
from assets.indicators.definitions import load_definitions
from assets.indicators.evaluate import evaluate
from assets.publications.publish import publish
from assets.raw.extraction import extract
from orchestration.settings import Home, load_province
from orchestration.upkeep import Settings, run_upkeep
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.reference import reference_tables
from warehouse.tables import OUT_INDICATOR
from warehouse.upkeep import Policy

#: Nothing but the newest night is kept, and what it replaced goes at once: so upkeep has work to be killed in.
UPKEEP = Settings(policy=Policy(days=1, grace=timedelta(0), small_files=2))


def night(home: Home, province_file: Path, start: datetime, until: datetime, *, with_upkeep: bool) -> None:
    """Extract, conform, evaluate and publish, as a night does; then, if asked for, the week's upkeep."""
    province = load_province(province_file, home=home)
    lake, database, name = Lake(home.lake), Database.open(home.database_url), f"night-{until:%Y%m%d}"
    database.begin_night(name, province_code=province.province_code)
    for source, settings in province.sources.items():
        extract(source, settings, window=(start, until), lake=lake, database=database, night=name, now=until)
    for table, rows in reference_tables(province.province_code, province.departments, province.working_calendar()):
        lake.replace_if_different(table, rows)
    conform(lake, database, agencies=province.agencies, codes=province.codes, night=name)
    definitions = load_definitions()
    # Counted from the first day that is read: months without a dossier would only take the killer's time.
    rows = evaluate(lake, definitions, province_code=province.province_code, as_of=until, start_on=start.date())
    lake.replace(OUT_INDICATOR, rows)
    fingerprints = {f"{one.id}/{one.version}": one.fingerprint for one in definitions}
    publish(lake, folder=home.published, as_of=until, night=name, definitions=fingerprints, cursors=database.cursors())
    if with_upkeep:
        run_upkeep(home, UPKEEP, now=datetime.now(UTC))


def _run(command: dict[str, Any], province_file: Path) -> dict[str, Any]:
    home = Home.from_environment({"THUOCDO_HOME": command["home"]})
    errors, told = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            start, until = (datetime.fromisoformat(command[name]) for name in ("start", "until"))
            night(home, province_file, start, until, with_upkeep=command["with_upkeep"])
        except BaseException as error:  # noqa: BLE001  told to the test, whatever it is
            os.write(told, f"{type(error).__name__}: {error}"[:2000].encode())
            code = 1
        os._exit(code)
    os.close(told)
    killed = _killed_after(child, command["kill_after"])
    said = b"" if killed else os.read(errors, 4000)
    os.close(errors)
    return {"killed": killed, "seconds": time.monotonic() - began, "error": said.decode() or None}


def _killed_after(child: int, seconds: float | None) -> bool:
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        done, _ = os.waitpid(child, os.WNOHANG)
        if done:
            return False
        if until is not None and time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.002)


def main(province_file: Path) -> None:
    """Answer commands until standard input ends."""
    # What is loaded on first use is loaded here once, and not by every child.
    load_province(province_file).working_calendar()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line), province_file)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
