"""The command `thuocdo`: the only place that prints.

Belongs here: the commands that run the service, what they print, exit codes. Does not belong here: commands that
ask it something (`commands/`), nor anything that another caller would need too (`run.py`, `check.py`, `demo.py`).

What goes wrong is one readable sentence and exit code 1, not a traceback. Modules that take seconds
to import are imported by the commands that need them.
"""

from __future__ import annotations

import functools
import logging
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expectations.wording import count_vi
from orchestration.commands.diff import diff
from orchestration.commands.explain import explain
from orchestration.commands.outlook import outlook
from orchestration.commands.propose import propose
from orchestration.commands.quarantine import quarantine
from orchestration.commands.receive import receive
from orchestration.commands.restate import restate
from orchestration.commands.rotate_key import rotate_key
from orchestration.commands.score import score
from orchestration.commands.template import template
from orchestration.commands.trace import trace
from orchestration.commands.units import units
from orchestration.commands.upkeep import upkeep
from orchestration.commands.verify import verify
from orchestration.commands.workbook import workbook
from orchestration.settings import ConfigurationError, Home, Province, load_province, province_path

if TYPE_CHECKING:
    from orchestration.run import Night

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Thước Đo: đo dịch vụ công trực tuyến của một tỉnh từ chính hồ sơ. · "
    "Measures e-government service in a province from the dossiers themselves.",
)
out = Console(highlight=False)

_DAY = "%Y-%m-%d"
ProvinceFile = Annotated[
    Path | None,
    typer.Argument(show_default=False, help="Tệp YAML của tỉnh · province file; THUOCDO_PROVINCE nếu không nói"),
]
Dossiers = Annotated[int, typer.Option(min=1, help="Số hồ sơ · how many dossiers")]
Seed = Annotated[int, typer.Option(help="Cùng số này sinh ra cùng một tỉnh · same seed, same province")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Cổng trên 127.0.0.1 · port on loopback (0: any)")]
Faults = Annotated[bool, typer.Option("--faults", help="Cho lỗi xảy ra theo lịch · let things go wrong on a schedule")]

#: The practice province: the same for `sandbox`, `demo` and `ui`.
DOSSIERS, SEED, PORT = 60_000, 3478, 8765


@app.callback()
def _quiet() -> None:
    """Keep third parties' log lines off the terminal; -W or PYTHONWARNINGS bring warnings back."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for name in ("httpx", "dagster", "alembic", "great_expectations"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def _told() -> Iterator[None]:
    """Turn the errors that are written for operators into their sentence and exit code 1."""
    from assets.publications.mirror import NotSentError
    from assets.questions.past import VersionGoneError
    from assets.raw.hashes import KeyProblem
    from orchestration.demo import OtherSandboxError, SandboxError
    from orchestration.lock import NightRunningError
    from warehouse.objects import StorageError

    homes = (NightRunningError, OtherSandboxError, SandboxError, KeyProblem)
    stores = (StorageError, NotSentError, VersionGoneError)
    try:
        yield
    except (ConfigurationError, *homes, *stores) as error:
        out.print(f"[red]✗[/red] {escape(str(error))}")
        raise typer.Exit(1) from None


@app.command()
def night(
    province: ProvinceFile = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=[_DAY], help="Từ ngày · first day")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=[_DAY], help="Đến hết ngày · last day")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Chỉ nói sẽ gọi gì · say what is asked")] = False,
) -> None:
    """Chạy một đêm: mọi ngày chưa trích xuất đến hết hôm qua. · One night: every day that is due."""
    with _told():
        home = Home.from_environment()
        loaded = load_province(province or province_path(), home=home)
        if dry_run:
            _rehearse(home, loaded, first=_day(first), last=_day(last))
            return
        _night(home, loaded, first=_day(first), last=_day(last))


def _day(given: datetime | None) -> date | None:
    return None if given is None else given.date()


def _rehearse(home: Home, province: Province, *, first: date | None, last: date | None) -> None:
    """Say what a night would ask of each source."""
    from orchestration.commands.dry_run import lines, plan

    now = datetime.now(UTC)
    for line in lines(plan(home, province, first=first, last=last, now=now), now=now):
        out.print(escape(line), soft_wrap=True)


def _night(home: Home, province: Province, *, first: date | None, last: date | None) -> None:
    """Run a night with its progress on the terminal, then say what came of it."""
    from orchestration.run import run_night
    from orchestration.watch import TerminalWatcher, terminal

    began = time.monotonic()
    with TerminalWatcher(terminal()) as watcher:
        done = run_night(home, province, first=first, last=last, watcher=watcher)
    days = f"{done.first:%d/%m/%Y}" if done.first == done.last else f"{done.first:%d/%m/%Y} – {done.last:%d/%m/%Y}"
    if done.counts:
        out.print(_count_table(done))
    if done.failures:
        out.print(f"[red]✗ Đêm {days} thất bại[/red] · the night failed (run {done.run_id})")
        for failure in done.failures:
            out.print(f"  {escape(failure)}")
        raise typer.Exit(1)
    out.print(f"[green]✓[/green] Đêm {days} xong sau {time.monotonic() - began:.0f} giây · {_changed(done)}")


def _changed(done: Night) -> str:
    stored = sum(row["rows_stored"] for row in done.counts if row["stage"] == "extract")
    read = sum(row["rows_read"] for row in done.counts if row["stage"] == "extract")
    if stored == 0:
        return f"không có gì thay đổi, cả {count_vi(read)} dòng đã đọc đều như cũ (nothing changed)"
    return f"{count_vi(stored)} trong {count_vi(read)} dòng đã đọc là mới hoặc thay đổi (new or changed)"


def _count_table(done: Night) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Khâu · Stage")
    table.add_column("Nguồn · Source")
    for heading in ("Đọc\nread", "Ghi\nstored", "Không đổi\nunchanged", "Cách ly\nquarantined"):
        table.add_column(heading, justify="right")
    stages = {"extract": "trích xuất", "conform": "hợp nhất"}
    for row in sorted(done.counts, key=lambda row: (row["stage"] != "extract", row["source"])):
        numbers = (row[f"rows_{name}"] for name in ("read", "stored", "unchanged", "quarantined"))
        table.add_row(stages[row["stage"]], row["source"], *(count_vi(number) for number in numbers))
    return table


@app.command()
def check(province: ProvinceFile = None) -> None:
    """Kiểm tra cấu hình và gọi thử mọi nguồn. · Validate the configuration and reach every source."""
    from orchestration.check import check_configuration

    with _told():
        home = Home.from_environment()
    wrong = 0
    for finding in check_configuration(province or province_path(), home):
        mark = "[green]✓[/green]" if finding.is_fit else "[red]✗[/red]"
        out.print(f"{mark} [bold]{escape(finding.subject)}[/bold]: {escape(finding.text)}")
        for table in finding.tables:
            out.print(table)
        wrong += not finding.is_fit
    if wrong:
        raise typer.Exit(1)


@app.command()
def scorecard() -> None:
    """In bảng điểm của bản xuất bản mới nhất. · Print the scorecard of the newest publication."""
    with _told():
        _scorecard(Home.from_environment())


def _scorecard(home: Home) -> None:
    from assets.scorecards.scorecard import build, render

    # Resolved once, so that both files are of one publication.
    folder = home.published.resolve()
    if not folder.is_dir():
        raise ConfigurationError(f"{home.published}: chưa xuất bản lần nào, hãy chạy thuocdo night (nothing published)")
    out.print(render(build(pq.read_table(folder / "indicator.parquet"), pq.read_table(folder / "verdict.parquet"))))


@app.command()
def sandbox(dossiers: Dossiers = DOSSIERS, seed: Seed = SEED, port: Port = PORT, *, faults: Faults = False) -> None:
    """Phục vụ một tỉnh mẫu để luyện tập, Ctrl-C để dừng. · Serve a practice province."""
    from orchestration.demo import serve_forever

    with _told():
        home = Home.from_environment()
        out.print(f"Tỉnh mẫu {count_vi(dossiers)} hồ sơ tại http://127.0.0.1:{port} sau vài giây; Ctrl-C để dừng.")
        serve_forever(home, dossiers=dossiers, seed=seed, port=port, faults=faults)


@app.command()
def demo(dossiers: Dossiers = DOSSIERS, seed: Seed = SEED, port: Port = 0, *, faults: Faults = False) -> None:
    """Tỉnh mẫu, một đêm, bảng điểm. · Practice province, one night, scorecard (what `make run` does)."""
    from orchestration.demo import LAST_DAY, practice

    with _told():
        home = Home.from_environment()
        out.print(f"Dựng tỉnh mẫu {count_vi(dossiers)} hồ sơ … · inventing a practice province")
        with practice(home, dossiers=dossiers, seed=seed, port=port, faults=faults) as served:
            _night(home, load_province(served.province_file, home=home), first=None, last=LAST_DAY)
        _scorecard(home)
    _tell_next(home)


def _tell_next(home: Home) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("Parquet", str(home.published))
    table.add_row("Giao diện · UI", "make ui → http://127.0.0.1:3000")
    table.add_row("Tra số liệu · query", f"duckdb.sql(\"FROM '{home.published}/indicator.parquet'\")")
    table.add_row("Bước tiếp · next", "README.md: nối tỉnh của bạn, thuocdo check · connect your own province")
    out.print(table)


@app.command()
def ui(
    dossiers: Dossiers = DOSSIERS,
    seed: Seed = SEED,
    port: Annotated[int, typer.Option(help="Cổng của giao diện · port of the web server")] = 3000,
    sandbox_port: Annotated[int, typer.Option(help="Cổng của tỉnh mẫu · port of the sandbox (0: any)")] = PORT,
) -> None:
    """Tỉnh mẫu, giao diện và tiến trình lịch cùng chạy. · Sandbox, web server and daemon together."""
    from orchestration.demo import dagster_processes, practice

    with _told():
        home = Home.from_environment()
        out.print("Dựng tỉnh mẫu … · inventing a practice province")
        with (
            practice(home, dossiers=dossiers, seed=seed, port=sandbox_port) as served,
            dagster_processes(home, served.province_file, port=port) as processes,
        ):
            out.print(f"UI: [bold]http://127.0.0.1:{port}[/bold] (tỉnh mẫu {served.base_url}). Ctrl-C dừng")
            stopped = _stop_asked()
            while all(process.poll() is None for process in processes):
                if stopped.wait(0.5):
                    out.print("Đang dừng … · stopping")
                    return
    out.print("[red]✗[/red] Một tiến trình Dagster đã tự dừng; lý do ở ngay trên · a Dagster process ended by itself")
    raise typer.Exit(1)


def _add(command: Callable[..., None], *, name: str | None = None) -> None:
    """Give the application a command of `orchestration.commands`, with errors for operators told like here."""

    @functools.wraps(command)
    def told(*args: Any, **kwargs: Any) -> None:
        with _told():
            command(*args, **kwargs)

    app.command(name)(told)


_COMMANDS: tuple[Callable[..., None], ...] = (
    verify,
    upkeep,
    workbook,
    trace,
    restate,
    explain,
    diff,
    outlook,
    score,
    template,
    propose,
    quarantine,
    rotate_key,
    units,
    receive,
)
for _command in _COMMANDS:
    _add(_command)


def _stop_asked() -> threading.Event:
    """Set by Ctrl-C and by the signal that a service manager sends: both end the processes in order."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    return asked


if __name__ == "__main__":
    app()
