"""What offices stated wrongly, night after night: closed when it was mended or is gone, open while nobody looked.

Whole runs of the asset over a folder and a real endpoint, for what is closed hangs on what a night really read.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from starlette.responses import Response

from assets.indicators.observed_assets import observation_asset
from assets.raw.hashes import Keys, in_use, use
from connectors.observations import ObservationApiSettings
from tests.connectors.test_loop import serving
from tests.connectors.test_observations_http import SOUND, answering, settings
from tests.indicators.test_observed import FLOW, UNITS, Stores, _file
from warehouse.database import Database
from warehouse.tables.core import CORE_UNIT
from warehouse.tables.raw import RAW_QUARANTINE

NAME = "van-ban"
#: The second of a file's write that lets it be read, far in the past, and one that makes it wait.
OLD, YOUNG = 1_000_000_000, 4_000_000_000


class Home(Stores):
    """A home with a lake and a database, and what its nights read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.folder = root / "so-lieu"
        self.folder.mkdir()
        self.home.replace(CORE_UNIT, UNITS)
        self.kept = Database.open(f"sqlite:///{root}/thuocdo.db")
        self.kept.begin_night(self.night, province_code="H15")

    def database(self) -> Any:
        return self.kept

    def office(self, name: str, *rows: tuple[Any, ...], written: int = OLD) -> Path:
        """An office's file of rows (unit, numerator, denominator)."""
        path = self.folder / name
        more = ("1/BC", "Chủ tịch UBND xã", "2026-02-03")
        _file(path, *((FLOW, unit, "2026-01", numerator, total, *more) for unit, numerator, total in rows))
        os.utime(path, (written, written))
        return path

    def read(self, **sources: ObservationApiSettings) -> bool:
        """Run a night; whether it ended well."""
        asset = observation_asset(self.folder, {name.replace("_", "-"): each for name, each in sources.items()})
        resource = dg.ResourceDefinition.hardcoded_resource(self)
        return dg.materialize([asset], resources={"stores": resource}, raise_on_error=False).success

    def open(self) -> set[tuple[str, str]]:
        """What is set aside and not closed: (where it stood, reason)."""
        rows = self.home.read(RAW_QUARANTINE).to_pylist()
        return {(row["record_key"], row["reason"]) for row in rows if row["settled_at"] is None}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVATION_TOKEN", "canary-of-a-token")


ABOVE = "numerator_above_denominator"


def where(name: str, line: int) -> str:
    return f"tệp {name}, trang tính “Sheet”, dòng {line}"


def test_a_row_that_was_mended_is_closed_and_one_that_is_still_refused_stays_open(home: Home) -> None:
    home.office("a.xlsx", ("H15.1", 5, 4), ("H15.2", 5, 4))
    assert home.read()
    assert home.open() == {(where("a.xlsx", 2), ABOVE), (where("a.xlsx", 3), ABOVE)}
    home.office("a.xlsx", ("H15.1", 3, 4), ("H15.2", 5, 4))
    assert home.read()
    assert home.open() == {(where("a.xlsx", 3), ABOVE)}
    version = home.home.version(RAW_QUARANTINE)
    assert home.read()
    assert home.home.version(RAW_QUARANTINE) == version
    home.office("a.xlsx", ("H15.1", 3, 4), ("H15.2", 9, 4))
    assert home.read()
    assert home.open() == {(where("a.xlsx", 3), ABOVE)}
    closed = [row["settled_at"] for row in home.home.read(RAW_QUARANTINE).to_pylist()]
    assert [at is None for at in closed].count(True) == 1, "what stood in the row before is closed"


def test_a_file_that_is_still_being_written_to_keeps_what_is_open(home: Home) -> None:
    home.office("a.xlsx", ("H15.1", 5, 4))
    home.office("Nguyễn Văn An.xlsx", ("H15.2", 5, 4))
    assert home.read()
    before = home.open()
    assert {reason for _, reason in before} == {ABOVE, "personal_file_name"}
    for name in ("a.xlsx", "Nguyễn Văn An.xlsx"):
        home.office(name, ("H15.1", 3, 4), written=YOUNG)
    assert home.read()
    assert home.open() == before


def test_a_file_that_was_replaced_under_another_name_or_taken_away_is_closed(home: Home) -> None:
    """What an operator is told to do of a name, an encoding or a format is to send another file."""
    person = home.office("Nguyễn Văn An.xlsx", ("H15.1", 3, 4))
    old = home.folder / "cu.csv"
    old.write_bytes("Mã chỉ số".encode("utf-16"))
    os.utime(old, (OLD, OLD))
    assert home.read()
    assert {reason for _, reason in home.open()} == {"personal_file_name", "not_utf8"}
    person.rename(home.folder / "thang-1.xlsx")
    old.unlink()
    assert home.read()
    assert home.open() == set()


def test_files_named_after_persons_are_told_apart_by_nothing_that_names_them(home: Home) -> None:
    """Two names of one length, over a change of the key: both wait on, since the same night, under new hashes."""
    names = ("Nguyễn Văn An.xlsx", "Nguyễn Văn Ba.xlsx")
    for name in names:
        home.office(name, ("H15.1", 3, 4))
    before, found = in_use(), []
    try:
        for keys in (Keys(b"mot"), Keys(b"hai", b"mot"), Keys(b"hai", b"mot")):
            use(keys)
            assert home.read()
            found.append(sorted(home.home.read(RAW_QUARANTINE).to_pylist(), key=lambda row: row["content_hash"]))
    finally:
        use(before)
    first, second, third = found
    assert {row["record_key"] for row in third} == {f"tệp «{len(names[0])} ký tự».xlsx"}
    assert [len(rows) for rows in found] == [2, 2, 2]
    hashes = [{row["content_hash"] for row in rows} for rows in found]
    assert (hashes[0] & hashes[1], hashes[1]) == (set(), hashes[2])
    assert {row["quarantined_at"] for row in third} == {row["quarantined_at"] for row in first}
    assert {row["settled_at"] for row in second + third} == {None}
    plain = {hashlib.sha256(name.encode()).hexdigest()[:8] for name in names}
    assert not any(mark in repr(first) for mark in (*plain, "Nguyễn"))


def test_a_folder_in_which_there_is_nothing_at_all_closes_nothing(home: Home) -> None:
    path = home.office("a.xlsx", ("H15.1", 5, 4))
    assert home.read()
    path.unlink()
    assert home.read()
    assert home.open() == {(where("a.xlsx", 2), ABOVE)}


def test_an_endpoint_closes_its_own_and_only_when_it_answered(home: Home) -> None:
    """First both items are wrong; then the endpoint refuses; then one is mended, then the other is no longer sent."""
    sound = SOUND | {"unit_code": "H15.A", "period": "2026-01", "stated_on": "2026-02-03"}
    wrong = sound | {"numerator": 101}
    other = wrong | {"unit_code": "H15.B"}
    route, _ = answering([wrong, other], Response(status_code=401), [sound, other], [sound])
    home.office("a.xlsx", ("H15.1", 5, 4))
    file, first, second = ((place, ABOVE) for place in (where("a.xlsx", 2), *_items(1, 2)))
    with serving(route) as origin:
        endpoint = settings(f"{origin}/v1/observations")
        found = []
        for is_well in (True, False, True, True):
            assert home.read(van_ban=endpoint) is is_well
            found.append(home.open())
    assert found == [{file, first, second}, {file, first, second}, {file, second}, {file}]


def _items(*numbers: int) -> list[str]:
    return [f"nguồn {NAME}, trang 1, bản ghi {number}" for number in numbers]
