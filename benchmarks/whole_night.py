"""What a whole night costs as history grows: some twelve thousand changed records over 1, 5 and 20 million dossiers.

Belongs here: making homes with a history, one night in each through the real job, and the cost of every step. Does
not belong here: what any step does; the upsert of one table alone (`night.py`).

    python -m benchmarks.whole_night [longer|denser [millions …]]

A sandbox's newest year is read by a first night. The rows of its raw and core tables are then repeated, with keys of
their own and in earlier years, and appended through deltalake; the portal's are filed under other sites, the
one-stop's under earlier changes, so that no night asks for them. Then the sandbox's clock moves on by two weeks, and
the night that reads them is measured in a process of its own, Dagster included. A *longer* history has more years of
a million dossiers each, a *denser* one five years, each with more of them.

Five million dossiers take two gigabytes below the folder for temporary files and many minutes to make.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import yaml
from rich.console import Console

from assets.dossiers.conform import CONFORMED
from assets.raw.tables import RAW_TABLES
from benchmarks.processes import Measured, peak_mib, run_apart, stopwatch
from orchestration.run import TEMPLATE, run_night
from orchestration.settings import Home, load_province
from sandbox.population import DEFAULT_CLOCK, ENDS_AT, build_population
from sandbox.server import RunningSandbox, running_sandbox
from warehouse.lake import Lake, connect, duckdb_type
from warehouse.schema import Table
from warehouse.tables import CORE_DOSSIER

MODULE = "benchmarks.whole_night"
MILLION = 1_000_000
#: Millions of dossiers.
SIZES = (1, 5, 20)
#: Dossiers of the sandbox, of which more than a third fall into the newest year, and that year's first day.
DOSSIERS, START_ON = 90_000, date(2025, 11, 1)
#: Years of a denser history.
YEARS = 5
#: Copies that are written in one commit, about a million dossiers.
TOGETHER = 25
#: The last days of the first night and of the measured one.
FIRST, SECOND = (clock.date() - timedelta(days=1) for clock in (DEFAULT_CLOCK, ENDS_AT))

out = Console(highlight=False, soft_wrap=True)


# A home with a history.

#: Columns that name a record or a dossier; a copy has its own.
_KEYS = {
    "record_key",
    "dossier_key",
    "dossier_code",
    "evidence",
    "code",
    "other_code",
    "reference_uid",
    "dossierNo",
    "referenceUid",
    "nationCode",
    "MaHoSo",
    "MaHoSoKhac",
    "id",
}
#: What keeps a copy out of the windows that a night compares: other sites, earlier days.
_DOSSIER_ID = '("dossierId" + ({year} * 1000 + copy) * 100000000::BIGINT)'
_EARLIER = (
    'CASE WHEN "{name}" <> \'\' THEN left("{name}", 6) || (substr("{name}", 7, 4)::INTEGER - {year}) '
    '|| substr("{name}", 11) ELSE "{name}" END'
)
_APART = {
    ("raw_portal", "groupId"): "'9' || \"groupId\"",
    ("raw_portal", "dossierId"): _DOSSIER_ID,
    ("raw_portal", "record_key"): f"'9' || \"groupId\" || ':' || {_DOSSIER_ID}",
    ("raw_portal", "submitDate"): _EARLIER,
    ("raw_portal", "receiveDate"): _EARLIER,
    ("raw_onestop", "updatedDate"): "'2001' || substr(\"updatedDate\", 5)",
    # The code stands first in it.
    ("raw_progress", "record_key"): '"MaHoSo" || \'~{year}.\' || copy || substr(record_key, length("MaHoSo") + 1)',
}


def begin(sandbox: RunningSandbox, folder: Path) -> None:
    """The home `folder` after a first night over the newest year; then the sandbox's clock moves on."""
    for file in (sandbox.home / "sandbox" / "messages").iterdir():
        if file.name < f"{START_ON:%Y-%m}":
            file.unlink()
    folder.mkdir(parents=True)
    (folder / "province.yaml").write_bytes(sandbox.province_file.read_bytes())
    _start_on(folder, START_ON)
    _night_apart(sandbox, folder, FIRST)
    sandbox.advance(ENDS_AT)


def _start_on(folder: Path, first: date) -> None:
    file = folder / "province.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8")) | {"start_on": first}
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


def lengthen(base: Path, folder: Path, *, millions: int, is_dense: bool) -> None:
    """The home `folder`: as `base`, with a history of `millions` of dossiers."""
    shutil.copytree(base, folder, symlinks=True)
    years = YEARS if is_dense else millions
    _start_on(folder, START_ON.replace(year=START_ON.year - years + 1))
    lake = Lake(str(folder / "lake"))
    count = f"SELECT count(*) FROM {lake.relation_sql(CORE_DOSSIER)}"
    copies = round(millions * MILLION / years / connect().sql(count).fetchall()[0][0])
    for table in (*RAW_TABLES.values(), *CONFORMED):
        rows = connect().sql(f"SELECT * FROM {lake.relation_sql(table)}").to_arrow_table()
        for year in range(years):
            for first in range(0, copies, TOGETHER):
                _repeat(lake, table, rows, year=year, copies=range(first, min(first + TOGETHER, copies)))
        # Known of what stood before.
        lake.fingerprint(table)


def _repeat(lake: Lake, table: Table, rows: pa.Table, *, year: int, copies: Iterable[int]) -> None:
    connection = connect()
    connection.register("base", rows)
    columns = ", ".join(
        f'{_repeated(table, column.name, duckdb_type(column.type), year)} AS "{column.name}"'
        for column in table.columns
    )
    # Copy by copy, as nights would have stored them: equal values side by side would be packed to nothing.
    parts = (f"SELECT {columns} FROM base, (SELECT {copy} AS copy)" for copy in copies)
    lake.append(table, pa.concat_tables(connection.sql(part).to_arrow_table() for part in parts))


def _repeated(table: Table, name: str, kind: str, year: int) -> str:
    """The column in a copy that lies `year` years back, in SQL."""
    if (table.name, name) in _APART:
        return _APART[table.name, name].replace("{year}", str(year)).replace("{name}", name)
    if name in _KEYS:
        return f"\"{name}\" || '~{year}.' || copy"
    if name == "lake_month":
        return f"(CAST(left(lake_month, 4) AS INTEGER) - {year}) || substr(lake_month, 5)"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        # Whole days, so that an instant and its day stay together over a leap year. What is copied was stored before.
        days = 365 * year + (name == "extracted_at")
        return f'CAST("{name}" - to_days({days}) AS {kind})'
    return f'"{name}"'


# One night, step by step.


class StepClock(logging.Handler):
    """Takes the time of every step from the run's own events: seconds of CPU of all threads, and peak memory in MiB."""

    steps: ClassVar[dict[str, tuple[float, float]]] = {}
    _began: float = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Start or stop the clock, where the record tells that a step began or ended."""
        event: Any = getattr(record, "dagster_event", None)
        kind = event.event_type_value if event else None
        if kind == "STEP_START":
            # Memory is counted anew from here.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._began = time.process_time()
        elif kind == "STEP_SUCCESS":
            StepClock.steps[event.step_key] = (time.process_time() - self._began, peak_mib())


_LOGS = {"dagster_handler_config": {"handlers": {"clock": {"class": f"{MODULE}.StepClock", "level": "DEBUG"}}}}


class _Nobody:
    """Who watches."""

    def say(self, text: str) -> None:
        """Unheard."""

    def read(self, source: str, rows: int) -> None:
        """Unseen."""


def night(folder: str, last: str) -> None:
    """One measured run, in a process of its own: the night up to the day `last`, which must not fail."""
    # Dagster makes the clock by this module's name, not as part of the program that runs.
    from benchmarks.whole_night import StepClock as Clock  # noqa: PLC0415

    home = Home.from_environment({"THUOCDO_HOME": folder})
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8")) | {"python_logs": _LOGS}
    (home.dagster / TEMPLATE.name).write_text(yaml.safe_dump(settings), encoding="utf-8")
    province = load_province(Path(folder) / "province.yaml", home=home)
    with stopwatch() as facts:
        began = time.process_time()
        done = run_night(home, province, last=date.fromisoformat(last), watcher=_Nobody())
        facts["cpu"] = time.process_time() - began
        facts["steps"] = Clock.steps
        facts["peak"] = max(peak for _, peak in Clock.steps.values())
        facts["stored"] = {f"{each['stage']} {each['source']}": each["rows_stored"] for each in done.counts}
        if done.failures:
            raise RuntimeError("\n".join(done.failures))


def _night_apart(sandbox: RunningSandbox, folder: Path, last: date) -> Measured:
    return run_apart(MODULE, ["night", str(folder), last.isoformat()], environment=os.environ | sandbox.environment)


def told(measured: Measured) -> dict[str, float]:
    """Seconds of CPU by what an operator calls the parts of a night; what is short goes together."""
    parts: dict[str, float] = defaultdict(float)
    for step, (cpu, _) in measured.facts["steps"].items():
        layer = step.split("_", 1)[0]
        name = f"checks of {layer}" if step.endswith("_checks") else "extract" if layer == "extract" else step
        parts[name if name != step or cpu >= 1 else "everything else"] += cpu
    return dict(parts)


def measure(shapes: Iterable[str], sizes: Sequence[int]) -> dict[tuple[str, int], Measured]:
    """One night of every shape and size (in millions), told as soon as it is over."""
    found: dict[tuple[str, int], Measured] = {}
    with tempfile.TemporaryDirectory(prefix="thuocdo-night-") as root:
        base = Path(root) / "base"
        with running_sandbox(build_population(DOSSIERS, 1), home=Path(root) / "served") as sandbox:
            begin(sandbox, base)
            for shape in shapes:
                for millions in sizes:
                    home = Path(root) / f"{shape}-{millions}"
                    lengthen(base, home, millions=millions, is_dense=shape == "denser")
                    found[shape, millions] = _night_apart(sandbox, home, SECOND)
                    shutil.rmtree(home)
                    _tell(f"{shape} {millions} million", found[shape, millions], found[shape, sizes[0]])
    return found


def _tell(name: str, found: Measured, first: Measured) -> None:
    # A faster night that loses rows is none.
    assert found.facts["stored"] == first.facts["stored"], (found.facts["stored"], first.facts["stored"])
    whole, once = float(found.facts["cpu"]), float(first.facts["cpu"])
    records = sum(rows for source, rows in found.facts["stored"].items() if source.startswith("extract "))
    out.print(
        f"{name}: {whole:.0f} s of CPU ({whole / once:.2f} times the first), {found.seconds:.0f} s, "
        f"peak {found.facts['peak']:.0f} MiB, {records:,} records stored"
    )
    before = told(first)
    for part, cpu in sorted(told(found).items(), key=lambda each: -each[1]):
        ratio = f"{cpu / before[part]:6.2f}" if before.get(part) else "     –"
        out.print(f"    {part:20}{cpu:8.1f} s {ratio}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["night"]:
        night(*sys.argv[2:])
    elif len(sys.argv) > 1:
        measure([sys.argv[1]], [int(size) for size in sys.argv[2:]] or SIZES)
    else:
        measure(("longer", "denser"), SIZES)
