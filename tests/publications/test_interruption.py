"""Killed at any moment, a publication leaves the old one whole and nothing that stays in the way.

Real processes that end without any clean-up (os._exit), at every operation on the file system that
Python reports below the home: the kill points are found by the run, not chosen by the test.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from assets.publications.manifest import read_manifest, verify
from assets.publications.tables import PUBLISHED
from tests.publications.lakes import publish_small, small_lake
from warehouse.lake import Lake

#: What changes the file system, as named by Python's audit events; fsync has none, its neighbours have.
EVENTS = {"open", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "shutil.rmtree"}
#: All tables are written and removed alike: dying at the first, one within and the last of them is dying at any.
TABLES = {"indicator.parquet", "dossier.parquet", "calendar.parquet"}
KILLED = 86


def _publish_until(lake: Lake, home: Path, point: int) -> None:
    """Publish in this process and die just before the operation number `point`."""
    operations = count()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and _is_counted(str(arguments[0])) and next(operations) == point:
            os._exit(KILLED)

    sys.addaudithook(hook)
    publish_small(lake, home, night="new", keep=2)


def _is_counted(path: str) -> bool:
    return not path.endswith(".parquet") or Path(path).name in TABLES


def _rows(home: Path) -> int:
    return next(int(one["rows"]) for one in read_manifest(home / "published")["resources"] if one["name"] == "dossier")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_killed_at_any_point_the_old_or_the_new_publication_is_whole(tmp_path: Path) -> None:
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.publications.lakes"])
    new = small_lake(tmp_path / "new", dossiers=20)
    before = tmp_path / "before"
    before.mkdir()
    for night in ("old1", "old2"):  # with keep=2, the first of them is due to be removed
        publish_small(small_lake(tmp_path / "old", dossiers=10), before, night=night, keep=2)
    seen = []
    for point in count():
        home = tmp_path / f"killed{point}"
        shutil.copytree(before, home, symlinks=True)
        child = forks.Process(target=_publish_until, args=(new, home, point))
        child.start()
        child.join()
        assert verify(home / "published") == [], f"killed at point {point}"
        seen.append(_rows(home))
        if child.exitcode != KILLED:
            assert child.exitcode == 0
            break
        _assert_next_publication_is_clean(new, home)
    # The old one up to the switch, the new one from then on; and both were killed many times.
    assert {"indicator.parquet", "calendar.parquet"} == {PUBLISHED[0].file_name, PUBLISHED[-1].file_name}
    assert seen == sorted(seen)
    assert set(seen) == {10, 20}
    assert seen.count(10) > 15
    assert seen.count(20) > 3


def _assert_next_publication_is_clean(lake: Lake, home: Path) -> None:
    publish_small(lake, home, night="next", keep=2)
    assert _rows(home) == 20
    assert {path.name for path in home.iterdir()} == {"publications", "published"}
    left = sorted(path for path in (home / "publications").iterdir() if path.name != ".lock")
    assert len(left) == 2
    assert [verify(folder) for folder in left] == [[], []]


@pytest.mark.timeout(60)
def test_the_next_publication_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "new", dossiers=20)
    publish_small(lake, tmp_path, night="old")
    store = tmp_path / "publications"
    (store / ".spill-abc").mkdir()
    (store / ".spill-abc" / "sort.tmp").write_bytes(b"x")
    half = store / "20200101T000000.000000Z-killed"
    half.mkdir()
    (half / "indicator.parquet").write_bytes(b"PAR1")
    (tmp_path / ".published.new").symlink_to("publications/nowhere")
    (store / "notes of an operator").mkdir()
    publish_small(lake, tmp_path, night="next")
    names = {path.name.split("-")[-1] for path in store.iterdir()}
    assert names == {".lock", "old", "next", "notes of an operator"}
    assert {path.name for path in tmp_path.iterdir()} == {"new", "publications", "published"}


def test_the_folder_behind_the_link_is_never_removed(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", dossiers=4)
    current = publish_small(lake, tmp_path, night="current").folder
    (current / "datapackage.json").unlink()
    next((tmp_path / "lake" / "core_dossier").rglob("*.parquet")).unlink()
    with pytest.raises(Exception, match="core_dossier"):
        publish_small(lake, tmp_path, night="failing")
    assert (tmp_path / "published" / "dossier.parquet").is_file()
