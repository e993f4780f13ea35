"""`make bench`: run every benchmark side by side, print the ratios, write benchmarks/README.md.

Belongs here: what is compared with what, and how it is told. Does not belong here: the measured work.
Sizes can be made smaller by arguments, for a quick look: `python -m benchmarks 20000 1000000`.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from benchmarks import evaluate, extract
from benchmarks.processes import Measured, best_of, run_apart
from orchestration.settings import load_province
from sandbox.population import build_population
from sandbox.server import running_sandbox

README = Path(__file__).with_name("README.md")
#: About 92 of 100 dossiers are in the one-stop system.
_SHARE = 0.918

out = Console(highlight=False)


def extraction(records: int, work: Path, *, rounds: int = 3) -> dict[str, Measured]:
    """Extraction of about `records` records of the one-stop system: ours, bare transfer, dlt."""
    population = build_population(int(records / _SHARE), 3478)
    with running_sandbox(population, home=work / f"home-{records}") as served:
        settings = load_province(served.province_file).sources["onestop"]
        environment = {**os.environ, **served.environment}
        calls, file = work / f"calls-{records}.json", str(served.province_file)
        base, token = str(settings.base_url), str(settings.token_url)  # type: ignore[union-attr]
        rows, width = str(settings.page_rows), str(settings.manners.concurrency)  # type: ignore[union-attr]
        run_apart(extract.MODULE, ["thuocdo", file, str(work), str(calls)], environment=environment)
        peers = {
            "thuocdo": (extract.MODULE, ["thuocdo", file, str(work)]),
            "bare httpx": (extract.MODULE, ["bare", base, token, str(calls), width]),
        }
        measured = best_of(rounds, peers, environment=environment)
        measured["dlt"] = run_apart(extract.MODULE, ["dlt", base, token, str(work), rows], environment=environment)
        return measured


def evaluation(dossiers: int, work: Path, *, rounds: int = 3) -> dict[str, Measured]:
    """Evaluation of the first set over `dossiers` dossiers: ours, hand-written SQL, pandas."""
    evaluate.make_lake(work, dossiers=dossiers)
    peers = {name: (evaluate.MODULE, [name, str(work), str(dossiers)]) for name in evaluate.PEERS}
    slow = {"pandas": peers.pop("pandas")}
    measured = best_of(rounds, peers) | best_of(1, slow)
    evaluate.refuse_different_counts({name: run.facts for name, run in measured.items()})
    return measured


def _table(title: str, unit: str, amount: int, measured: dict[str, Measured], aims: dict[str, str]) -> list[str]:
    ours = measured["thuocdo"]
    lines = [f"### {title}", "", "| | seconds | ours ÷ this | aim | peak MiB |", "|---|---|---|---|---|"]
    for name, run in measured.items():
        ratio = "" if name == "thuocdo" else f"{ours.seconds / run.seconds:.2f}"
        if name in ("dlt", "pandas", "whole catalogue"):
            ratio = f"1/{run.seconds / ours.seconds:.1f}"
        lines.append(f"| {name} | {run.seconds:.2f} | {ratio} | {aims.get(name, '')} | {run.peak_mib:.0f} |")
    return [*lines, "", f"{amount:,} {unit}.", ""]


def main(records: int, dossiers: int) -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory(prefix="thuocdo-bench-") as folder:
        work = Path(folder)
        lines = _head()
        for size in (records // 10, records):
            out.print(f"extraction of {size:,} records …")
            found = extraction(size, work)
            aims = {"bare httpx": "≤ 1.5", "dlt": "≤ 1/15"} if size == records else {}
            amount = found["thuocdo"].facts["records"]
            lines += _table(f"Extraction, {size:,} records", "dossiers with their fees", amount, found, aims)
        for size in (dossiers // 10, dossiers):
            out.print(f"evaluation over {size:,} dossiers …")
            found = evaluation(size, work)
            aims = {"hand-written": "≤ 1.15", "whole catalogue": "≥ 1/3"} if size == dossiers else {}
            lines += _table(f"Evaluation, {size:,} dossiers", "dossiers", size, found, aims)
    text = "\n".join([*lines, READING.read_text(encoding="utf-8")])
    out.print(text, markup=False)
    README.write_text(text, encoding="utf-8")


#: How to read the tables, and what is measured by other scripts.
READING = Path(__file__).with_name("reading.md")


def _head() -> list[str]:
    parts = ", ".join(
        f"{name} {version(name)}" for name in ("httpx", "pyarrow", "duckdb", "deltalake", "pandas", "dlt")
    )
    return [
        "# Benchmarks",
        "",
        "Written by `make bench`. Every table was measured side by side in one run, each peer in a process of its own,",
        "turn about, the best of three runs (dlt and pandas: one). Peers that count must find the same counts.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, {parts}.",
        "",
        "- **bare httpx** makes the calls that the extraction makes and discards the replies.",
        "- **dlt** reads the list pages only, without the fees, from the same server to Parquet.",
        "- **hand-written** is SQL typed for these counts alone, over the same files, in DuckDB.",
        "- Memory is that of the whole process; a size and its tenth stand side by side to show whether it grows.",
        "",
    ]


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[1:]] or [200_000, 10_000_000]
    main(*sizes)
