"""A reader never sees half a publication, however often nights are published beside it.

Separate processes, because readers are: two read in a tight loop, each in one of the two ways a BI
tool reads, while a third publishes two contents in turn.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from assets.publications.manifest import read_manifest, verify
from tests.publications.lakes import publish_small, small_lake
from warehouse.lake import Lake

NIGHTS = 30
#: The last ones differ between the two contents; units and procedures do not.
NAMES = ("unit", "procedure", "verdict", "indicator", "payment", "dossier")
Hashes = dict[str, str]


def _publish_nights(home: Path, done: Event) -> None:
    # A reader that resolved the link may take as long as `keep` nights; here a night is a split second.
    for night in range(NIGHTS):
        publish_small(Lake(str(home / "ab"[night % 2])), home, night=f"n{night}", keep=NIGHTS + 2)
    done.set()


def _read_resolved(home: Path, done: Event, contents: dict[str, Hashes], results: SimpleQueue[Any]) -> None:
    """Resolve the link once, then read everything with several tools: all files belong together."""
    results.put(_loop(done, lambda: _consistent_problem((home / "published").resolve(), contents)))


def _read_through_link(home: Path, done: Event, contents: dict[str, Hashes], results: SimpleQueue[Any]) -> None:
    """Open single files through the link, once each: every one is whole and of one of the two contents."""
    results.put(_loop(done, lambda: _single_problem(home / "published", contents)))


def _loop(done: Event, read: Callable[[], tuple[str, list[str]]]) -> tuple[int, set[str], list[str]]:
    turns, seen, problems = 0, set(), []
    while not done.is_set():
        content, found = read()
        turns += 1
        seen.add(content)
        problems += found
    return turns, seen, problems


def _consistent_problem(folder: Path, contents: dict[str, Hashes]) -> tuple[str, list[str]]:
    said = {one["name"]: one for one in read_manifest(folder)["resources"]}
    hashes = {name: hashlib.sha256((folder / f"{name}.parquet").read_bytes()).hexdigest() for name in NAMES}
    problems = [f"{folder}: hash of {name}" for name in NAMES if said[name]["hash"] != f"sha256:{hashes[name]}"]
    rows = {name: len(pd.read_parquet(folder / f"{name}.parquet")) for name in NAMES}
    problems += [f"{folder}: rows of {name}" for name in NAMES if said[name]["rows"] != rows[name]]
    with duckdb.connect() as connection:
        counted = connection.sql(
            f"SELECT (SELECT count(*) FROM '{folder}/dossier.parquet' WHERE is_received), i.denominator, v.denominator "
            f"FROM '{folder}/indicator.parquet' AS i, '{folder}/verdict.parquet' AS v"
        ).fetchall()
    if len(counted) != 1 or len(set(counted[0])) != 1:
        problems.append(f"{folder}: tables are of different nights: {counted}")
    return _content(hashes, contents, NAMES), problems


def _single_problem(link: Path, contents: dict[str, Hashes]) -> tuple[str, list[str]]:
    problems, seen = [], "neither"
    for name in NAMES:
        with (link / f"{name}.parquet").open("rb") as file:
            rows = pq.read_table(file).num_rows
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        seen = _content({name: digest}, contents, (name,))
        if seen == "neither" or not rows:
            problems.append(f"{name} with {rows} rows is neither the old nor the new one")
    return seen, problems


def _content(hashes: Hashes, contents: dict[str, Hashes], names: tuple[str, ...]) -> str:
    found = [content for content, known in contents.items() if all(known[name] == hashes[name] for name in names)]
    return found[0] if found else "neither"


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("reader", [_read_resolved, _read_through_link])
def test_no_torn_read_while_thirty_nights_are_published(
    tmp_path: Path, reader: Callable[[Path, Event, dict[str, Hashes], Any], None]
) -> None:
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.publications.lakes"])
    contents = {}
    for name, dossiers in (("a", 400), ("b", 3000)):
        made = publish_small(small_lake(tmp_path / name, dossiers=dossiers), tmp_path, night=name)
        contents[name] = {table: facts.sha256 for table, facts in made.tables.items()}
    done, results = forks.Event(), forks.SimpleQueue()
    reading = forks.Process(target=reader, args=(tmp_path, done, contents, results))
    writing = forks.Process(target=_publish_nights, args=(tmp_path, done))
    reading.start()
    writing.start()
    writing.join()
    # A writer that died must not leave the reader looping.
    done.set()
    reading.join()
    assert (writing.exitcode, reading.exitcode) == (0, 0)
    turns, seen, problems = results.get()
    assert problems == []
    assert seen == {"a", "b"}
    assert turns > NIGHTS
    assert verify(tmp_path / "published") == []


def _publish_one(home: Path, name: str) -> None:
    publish_small(Lake(str(home / name)), home, night=name)


@pytest.mark.timeout(60)
def test_two_publications_at_once_take_turns(tmp_path: Path) -> None:
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.publications.lakes"])
    for name in "ab":
        small_lake(tmp_path / name, dossiers=100)
    both = [forks.Process(target=_publish_one, args=(tmp_path, name)) for name in "abab"]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0, 0, 0]
    folders = [path for path in (tmp_path / "publications").iterdir() if path.is_dir()]
    assert len(folders) == 4
    assert [verify(folder) for folder in folders] == [[], [], [], []]
