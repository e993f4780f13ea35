"""`make bench`: run the benchmarks, print their tables, write benchmarks/README.md.

Belongs here: what is compared with what, and how it is told. Does not belong here: the measured work.
`python -m benchmarks [SECTION …]` measures some sections anew; the tables of the others stay as they were measured.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from benchmarks import evaluate, extract, memory, night, receive, replica, whole_night
from benchmarks.processes import Measured, best_of, run_apart
from sandbox.population import build_population
from sandbox.server import running_sandbox

README = Path(__file__).with_name("README.md")
#: One file a section, with the day on which it was measured.
RESULTS = Path(__file__).with_name("results")
#: How to read the tables.
READING = Path(__file__).with_name("reading.md")
RECORDS, DOSSIERS = 200_000, 10_000_000
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


def extractions(work: Path) -> list[str]:
    """Every HTTP protocol."""
    lines: list[str] = []
    for source, title, many in (
        ("onestop", "iGate v2", RECORDS),
        ("igate", "iGate v2 by its profile", RECORDS // 4),
        ("portal", "OpenCPS", RECORDS // 10),
    ):
        for size in (many // 10, many):
            out.print(f"extraction, {title}, {size:,} records …")
            found = extraction(source, size, work)
            aims = {"bare transfer": "≤ 1.3", "dlt": "≤ 1/20"} if size == many else {}
            amount = found["thuocdo"].facts["records"]
            lines += _table(f"Extraction, {title}, {size:,} records", _READ[source], amount, found, aims)
    return lines


def evaluations(work: Path) -> list[str]:
    """Counting."""
    lines: list[str] = []
    for size in (DOSSIERS // 10, DOSSIERS):
        out.print(f"evaluation over {size:,} dossiers …")
        found = evaluation(size, work)
        aims = {"hand-written": "≤ 1.15", "whole catalogue": "≥ 1/3"} if size == DOSSIERS else {}
        lines += _table(f"Evaluation, {size:,} dossiers", "dossiers", size, found, aims)
    return lines


def replicas(work: Path) -> list[str]:
    """A database replica; needs PostgreSQL."""
    found = replica.compare(500_000, work)
    return _table("Replica, 500,000 rows", "rows", 500_000, found, {"COPY to pyarrow": "≤ 1.5", "ConnectorX": "≤ 1.5"})


def receiving(work: Path) -> list[str]:
    """Messages pushed by vendors."""
    lines = [
        "### Receiver, one record a call from 32 senders",
        "",
        "| | calls a second | µs of CPU a call |",
        "|---|---|---|",
    ]
    for name, run in receive.measure(20_000, 1, 32, work).items():
        lines.append(f"| {name} | {run['calls_per_second']:,.0f} | {run['cpu_us_per_call']:.0f} |")
    return [*lines, ""]


def memories(work: Path) -> list[str]:
    """Peak memory as an extraction grows."""
    lines = ["### Memory of an extraction", "", "| records | peak MiB | seconds |", "|---|---|---|"]
    for size in memory.SIZES:
        out.print(f"memory, {size:,} records …")
        found = memory.measure(size, work)
        lines.append(f"| {size:,} | {found.peak_mib:.0f} | {found.seconds:.1f} |")
    return [*lines, ""]


def upserts(_: Path) -> list[str]:
    """Ten thousand changes in growing histories."""
    lines = ["### Upsert of 10,000 changed dossiers", "", _GROWTH, "|---|---|---|---|"]
    for shape in ("longer", "denser"):
        found = {size: night.quickest("rewrite", size, shape) for size in night.SIZES}
        lines += _growth(shape, {f"{size:,}": run for size, run in found.items()})
    return [*lines, ""]


def nights(_: Path) -> list[str]:
    """Whole nights over growing histories; 20 million take an hour and more (`python -m benchmarks.whole_night`)."""
    lines = ["### A whole night, some twelve thousand changed records", "", _GROWTH, "|---|---|---|---|"]
    found = whole_night.measure(["longer"], [1, 5])
    return [*lines, *_growth("longer", {f"{millions} million": run for (_, millions), run in found.items()}), ""]


_GROWTH = "| dossiers | seconds of CPU | ÷ the first | peak MiB |"


def _growth(shape: str, found: Mapping[str, Measured]) -> list[str]:
    first = next(iter(found.values()))
    return [
        f"| {size}, {shape} | {run.facts['cpu']:.1f} | {run.facts['cpu'] / first.facts['cpu']:.2f} | "
        f"{run.facts.get('peak', run.peak_mib):.0f} |"
        for size, run in found.items()
    ]


SECTIONS: Mapping[str, Callable[[Path], list[str]]] = {
    "extraction": extractions,
    "replica": replicas,
    "receiver": receiving,
    "memory": memories,
    "evaluation": evaluations,
    "upsert": upserts,
    "night": nights,
}


def main(sections: Sequence[str]) -> None:
    """Measure, print, write."""
    RESULTS.mkdir(exist_ok=True)
    for name in sections:
        with tempfile.TemporaryDirectory(prefix="thuocdo-bench-") as folder:
            lines = SECTIONS[name](Path(folder))
        text = "\n".join([f"## {name.capitalize()}", "", _circumstances(), "", *lines])
        out.print(text, markup=False)
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    measured = [file.read_text(encoding="utf-8") for name in SECTIONS if (file := RESULTS / f"{name}.md").exists()]
    README.write_text("\n".join([*_HEAD, *measured, READING.read_text(encoding="utf-8")]), encoding="utf-8")


def _circumstances() -> str:
    parts = ", ".join(
        f"{name} {version(name)}" for name in ("httpx", "pyarrow", "duckdb", "deltalake", "pandas", "dlt")
    )
    return f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, {parts}."


_HEAD = [
    "# Benchmarks",
    "",
    "Written by `make bench`. Every table was measured side by side in one run, each peer in a process of its own,",
    "turn about, the best of three runs (dlt and pandas: one). Peers that count must find the same counts.",
    "",
    "- **bare transfer** makes the calls that the extraction makes, by the same transport, and discards the",
    "  replies; **httpx** makes them by httpx's client.",
    "- **dlt** reads the list pages only, without the fees, from the same server to Parquet.",
    "- **hand-written** is SQL typed for these counts alone, over the same files, in DuckDB.",
    "- Memory is that of the whole process; a size and its tenth stand side by side to show whether it grows.",
    "",
]


if __name__ == "__main__":
    if strangers := set(sys.argv[1:]) - set(SECTIONS):
        raise SystemExit(f"no section {', '.join(sorted(strangers))}; there are {', '.join(SECTIONS)}")
    main(sys.argv[1:] or list(SECTIONS))
