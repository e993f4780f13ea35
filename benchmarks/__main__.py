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
from sandbox.population import build_population
from sandbox.server import running_sandbox

README = Path(__file__).with_name("README.md")
#: Of 100 dossiers about 92 are in the one-stop system, about 66 in the portal.
_SHARES = {"onestop": 0.918, "igate": 0.918, "portal": 0.66}

out = Console(highlight=False)


def extraction(source: str, records: int, work: Path, *, rounds: int = 3) -> dict[str, Measured]:
    """Extraction of about `records` records of a source of the sandbox: ours, bare transfer, for one of them dlt."""
    population = build_population(int(records / _SHARES[source]), 3478)
    with running_sandbox(population, home=work / f"home-{source}-{records}") as served:
        environment = {**os.environ, **served.environment}
        file = str(extract.profiled(served.province_file) if source == "igate" else served.province_file)
        calls = work / f"calls-{source}-{records}.json"
        run_apart(extract.MODULE, ["thuocdo", source, file, str(work), str(calls)], environment=environment)
        peers = {
            "thuocdo": (extract.MODULE, ["thuocdo", source, file, str(work)]),
            "bare transfer": (extract.MODULE, ["bare", source, file, str(calls)]),
            "httpx": (extract.MODULE, ["httpx", source, file, str(calls)]),
        }
        measured = best_of(rounds, peers, environment=environment)
        if source == "onestop":
            measured["dlt"] = run_apart(extract.MODULE, ["dlt", file, str(work)], environment=environment)
        return measured


def evaluation(dossiers: int, work: Path, *, rounds: int = 3) -> dict[str, Measured]:
    """Evaluation of the first set over `dossiers` dossiers: ours, hand-written SQL, pandas."""
    evaluate.make_lake(work, dossiers=dossiers)
    peers = {name: (evaluate.MODULE, [name, str(work), str(dossiers)]) for name in evaluate.PEERS}
    slow = {"pandas": peers.pop("pandas")}
    measured = best_of(rounds, peers) | best_of(1, slow)
    evaluate.refuse_different_counts({name: run.facts for name, run in measured.items()})
    return measured


_READ = {
    "onestop": "dossiers with their fees",
    "igate": "dossiers with their fees",
    "portal": "dossiers with their files and payments",
}


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
        for source, title, many in (
            ("onestop", "iGate v2", records),
            ("igate", "iGate v2 by its profile", records // 4),
            ("portal", "OpenCPS", records // 10),
        ):
            for size in (many // 10, many):
                out.print(f"extraction, {title}, {size:,} records …")
                found = extraction(source, size, work)
                aims = {"bare transfer": "≤ 1.3", "dlt": "≤ 1/20"} if size == many else {}
                amount = found["thuocdo"].facts["records"]
                lines += _table(f"Extraction, {title}, {size:,} records", _READ[source], amount, found, aims)
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
        "- **bare transfer** makes the calls that the extraction makes, by the same transport, and discards the",
        "  replies; **httpx** makes them by httpx's client.",
        "- **dlt** reads the list pages only, without the fees, from the same server to Parquet.",
        "- **hand-written** is SQL typed for these counts alone, over the same files, in DuckDB.",
        "- Memory is that of the whole process; a size and its tenth stand side by side to show whether it grows.",
        "",
    ]


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[1:]] or [200_000, 10_000_000]
    main(*sizes)
