"""Readers are never blocked and never see half of anything, while nights write and upkeep compacts and clears."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.publications.lakes import publish_small, small_lake
from tests.rows import table_rows
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.tables import CORE_PAYMENT
from warehouse.upkeep import Policy, upkeep

MONTHS = ("2026-01", "2026-02", "2026-03")

#: A reader in a process of its own: every view of the table must be of one night, every publication whole. It
#: resolves what it reads once, and then reads it twice, as tools do.
READER = """
import sys, time
from pathlib import Path
import pandas as pd
from warehouse.lake import Lake
from warehouse.tables import CORE_PAYMENT
root, published, stop = Lake(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
rounds, seen = 0, set()
while not stop.exists() or rounds == 0:
    connection = root.connect(CORE_PAYMENT)
    for _ in range(2):
        nights = {night for (night,) in connection.sql("SELECT DISTINCT source FROM core_payment").fetchall()}
        rows = connection.sql("SELECT count(*) FROM core_payment").fetchall()[0][0]
        assert len(nights) == 1 and rows == 300, (nights, rows)
        time.sleep(0.02)
    seen |= nights
    folder = published.resolve()
    assert len(pd.read_parquet(folder / "dossier.parquet")) == 20
    assert len(pd.read_parquet(folder / "unit.parquet")) > 0
    rounds += 1
print(rounds, len(seen))
"""


def _night(lake: Lake, number: int) -> None:
    """A night rewrites every month in one commit; its number is in every row."""
    rows = [
        {"dossier_key": f"{month}-{row}", "payment_no": row, "lake_month": month, "source": f"night-{number}"}
        for month in MONTHS
        for row in range(100)
    ]
    lake.replace_partitions(CORE_PAYMENT, table_rows(CORE_PAYMENT, *rows), MONTHS)


@pytest.mark.slow
def test_readers_in_another_process_see_whole_nights_throughout(tmp_path: Path) -> None:
    lake, database = Lake(str(tmp_path / "lake")), Database.open(f"sqlite:///{tmp_path / 'thuocdo.db'}")
    published = small_lake(tmp_path / "published-lake", dossiers=20)
    _night(lake, 0)
    publish_small(published, tmp_path)
    stop = tmp_path / "stop"
    command = [sys.executable, "-c", READER, lake.root, str(tmp_path / "published"), str(stop)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    policy = Policy(days=1, grace=timedelta(hours=1), target_size=1 << 20, small_files=1)
    number = 0
    began = datetime.now(UTC)
    while number < 12 or datetime.now(UTC) - began < timedelta(seconds=8):
        number += 1
        _night(lake, number)
        if number % 3 == 0:
            upkeep(lake, database, policy, now=datetime.now(UTC))
            publish_small(published, tmp_path)
    stop.touch()
    for reader in readers:
        said, wrong = reader.communicate(timeout=60)
        assert reader.returncode == 0, wrong
        rounds, nights = map(int, said.split())
        assert rounds >= 2
        assert nights >= 2
