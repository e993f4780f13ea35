"""From the sandbox's sources into a lake: real servers, real tables, through the one public door."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina

from assets.raw.extraction import SourceCount, UnreachableSource, extract, probe
from assets.raw.stored_days import StoredDays
from assets.raw.tables import RAW_MESSAGES, RAW_ONESTOP, RAW_PORTAL, RAW_PROGRESS
from connectors import opencps
from connectors.settings import MessageLogSettings
from connectors.sources import SourceSettings
from sandbox.people import people
from sandbox.population import VIETNAM, Population
from sandbox.portal import PortalIndex
from sandbox.server import RunningSandbox
from tests.persons import PERSON
from tests.raw.conftest import NOW, SEPTEMBER, Home, sources_of
from warehouse.database import LakeBehindCursorError
from warehouse.schema import Table
from warehouse.tables import RAW_QUARANTINE

DAY = timedelta(days=1)
TABLES = (RAW_PORTAL, RAW_ONESTOP, RAW_MESSAGES, RAW_PROGRESS)


def stored(home: Home, table: Table) -> dict[str, str]:
    """Newest version of every record: key → hash."""
    rows = home.lake.read(table).sort_by("extracted_at")
    return dict(zip(rows["record_key"].to_pylist(), rows["content_hash"].to_pylist(), strict=True))


def shown_by_the_portal(population: Population, *, start: datetime, end: datetime) -> set[str]:
    """Ids of dossiers with a submit, receive, release or finish day in the window, by the sandbox's own index.

    Kept to days well inside the window: its borders belong to another day in the index's zone.
    """
    index = PortalIndex(population, int(NOW.timestamp()))
    first, last = (int(f"{day:%Y%m%d}") for day in (start + 2 * DAY, end - 2 * DAY))
    found = set()
    for position in range(len(index.rows)):
        days = [int(index.columns[axis][position]) for axis in ("submit", "receive", "release", "finish")]
        if (
            index.columns["visible"][position]
            and index.ghost[position] < 0
            and any(first <= day <= last for day in days)
        ):
            found.add(str(json.loads(index.records[position])["dossierId"]))
    return found


def test_everything_in_the_window_is_stored_and_the_sums_close(home: Home, population: Population) -> None:
    counts = home.night("n1")
    assert set(counts) == {"portal", "onestop", "messages", "progress"}
    for count in counts.values():
        assert count.rows_read == count.rows_stored + count.rows_unchanged + count.rows_quarantined > 0
    ids = {key.split(":")[1] for key in stored(home, RAW_PORTAL)}
    assert ids >= shown_by_the_portal(population, start=SEPTEMBER, end=NOW)
    written = {row["source"]: row["rows_stored"] for row in home.database.counts("n1")}
    assert written == {name: count.rows_stored for name, count in counts.items()}
    assert home.lake.read(RAW_PORTAL).num_rows == counts["portal"].rows_stored


def test_files_payments_and_fees_are_there(home: Home) -> None:
    home.night("n1", source="portal")
    home.night("n1", source="onestop")
    portal, onestop = home.lake.read(RAW_PORTAL), home.lake.read(RAW_ONESTOP)
    assert portal["files"].null_count == 0
    assert any(row["payment"] and row["payment"]["paymentAmount"] for row in portal.to_pylist())
    assert any(row["fees"] for row in onestop.to_pylist())
    assert {row["dossierStatusId"] is not None for row in onestop.to_pylist()} == {True}


def test_a_second_night_over_the_same_stores_nothing(home: Home) -> None:
    home.night("n1")
    before = {table.name: home.lake.version(table) for table in TABLES}
    again = home.night("n2", start=NOW - DAY)
    assert {name: count.rows_stored for name, count in again.items()} == dict.fromkeys(again, 0)
    assert again["portal"].rows_unchanged > 0
    assert before == {table.name: home.lake.version(table) for table in TABLES}


def test_a_bad_day_ends_in_the_same_state_as_a_good_one(home: Home, bad_day: RunningSandbox, tmp_path: Path) -> None:
    home.night("n1")
    other = Home(tmp_path / "other", sources_of(bad_day))
    with stamina.set_testing(True, attempts=6):
        other.night("n1")
    for table in TABLES:
        assert stored(other, table) == stored(home, table)


class Killed(BaseException):
    """The process ends here."""


def _reached(home: Home) -> dict[str, dict[str, dict[str, Any]]]:
    """Every cursor, without the instant at which a file was looked at."""
    return {
        source: {
            stream: {key: said for key, said in position.items() if key != "looked"}
            for stream, position in each.items()
        }
        for source, each in home.database.cursors().items()
    }


def test_killed_between_append_and_cursor_the_next_run_stores_nothing_twice(
    home: Home, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = Home(tmp_path / "undisturbed", sources_of(sandbox))
    undisturbed.night("n1")

    monkeypatch.setattr(opencps, "BATCH_ROWS", 1)

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    for source in home.sources:
        with monkeypatch.context() as patched:
            patched.setattr(type(home.database), "move_cursor", die)
            with pytest.raises(Killed):
                home.night("n1", source=source)
        assert source not in home.database.cursors()
    home.night("n1")
    for table in TABLES:
        assert stored(home, table) == stored(undisturbed, table)
        assert home.lake.read(table).num_rows == undisturbed.lake.read(table).num_rows
    assert _reached(home) == _reached(undisturbed)


def test_no_person_reaches_a_file_below_the_home(home: Home, bad_day: RunningSandbox) -> None:
    home.sources = sources_of(bad_day)
    with stamina.set_testing(True, attempts=6):
        home.night("n1")
    rows = json.dumps(
        [home.lake.read(table).to_pylist() for table in (*TABLES, RAW_QUARANTINE)], default=str, ensure_ascii=False
    )
    # What every invented person of the sandbox carries, so that each of them is recognised.
    person = people()[7]
    assert (person.name.split()[1:3], person.email.split("@")[1]) == (["Hư", "Cấu"], "vi-du.invalid")
    assert (person.identity_number[:6], person.phone[:4]) == ("099066", "0999")
    assert not PERSON.search(rows)
    plain = b"".join(file.read_bytes() for file in home.root.rglob("*") if file.is_file())
    assert not PERSON.search(plain.decode("utf-8", errors="replace"))


def test_missed_nights_heal_and_a_back_fill_leaves_the_cursor_alone(home: Home) -> None:
    home.night("n1", start=SEPTEMBER, end=SEPTEMBER + 10 * DAY)
    until = home.database.cursors()["portal"]["dossiers"]["until"]
    late = home.night("n2", start=NOW - DAY, end=NOW, source="portal")["portal"]
    assert late.window_start == datetime.fromisoformat(until)
    reached = home.database.cursors()["portal"]["dossiers"]
    fill = home.night("n3", start=SEPTEMBER - 20 * DAY, end=SEPTEMBER, source="portal")["portal"]
    assert fill.window_start == SEPTEMBER - 20 * DAY
    assert home.database.cursors()["portal"]["dossiers"] == reached


def test_a_lake_older_than_the_cursor_is_refused(home: Home) -> None:
    home.night("n1", source="onestop")
    home.lake = type(home.lake)(str(home.root / "restored"))
    with pytest.raises(LakeBehindCursorError, match="onestop"):
        home.night("n2", source="onestop")


def log_of(home: Home, *records: dict[str, Any], name: str = "2026-10-01_0001.ndjson") -> dict[str, SourceSettings]:
    folder = home.root / "messages"
    folder.mkdir(exist_ok=True)
    line = {"madonvi": "H15", "service": "DongBoHoSoMC", "isUpdating": "False", "data": records}
    (folder / name).write_text(json.dumps(line, ensure_ascii=False) + "\n", encoding="utf-8")
    return {"messages": MessageLogSettings(kind="npsp-log", folder=folder, settle_seconds=0)}


def message(code: str, **changes: Any) -> dict[str, Any]:
    return {
        "MaHoSo": code,
        "MaTTHC": "1.001612",
        "NgayTiepNhan": "20261001080000",
        "TrangThaiHoSo": "2",
        "DonViXuLy": "UBND xã Ea Kao",
        **changes,
    }


def told(count: SourceCount) -> tuple[int, int, int, int]:
    return count.rows_read, count.rows_stored, count.rows_unchanged, count.rows_quarantined


def test_each_version_in_a_log_is_kept_and_the_last_is_the_newest(home: Home) -> None:
    first, second = message("A"), message("A", TrangThaiHoSo="4")
    home.sources = log_of(home, first, first, second, first)
    assert told(home.night("n1")["messages"]) == (4, 3, 1, 0)
    rows = home.lake.read(RAW_MESSAGES).sort_by("extracted_at")
    assert rows["TrangThaiHoSo"].to_pylist() == ["2", "4", "2"]
    assert len(set(rows["extracted_at"].to_pylist())) == 3


def test_an_old_file_dropped_again_does_not_cover_a_newer_message(home: Home) -> None:
    home.sources = log_of(home, message("A"))
    home.night("n1")
    home.sources = log_of(home, message("A", TrangThaiHoSo="4"), name="2026-10-02_0001.ndjson")
    home.night("n2")
    # The first file again, changed and longer: its A is older than the one known, its B is news.
    home.sources = log_of(home, message("A", TrangThaiHoSo="5"), message("B"))
    assert told(home.night("n3")["messages"]) == (2, 1, 1, 0)
    newest = {
        row["record_key"]: row["TrangThaiHoSo"]
        for row in home.lake.read(RAW_MESSAGES).sort_by("extracted_at").to_pylist()
    }
    assert newest == {"A": "4", "B": "2"}


CANARY = "Nguyễn Thị Canary"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (message("A", NgayTiepNhan=CANARY), "NgayTiepNhan_readable"),
        (message("A", NgayTiepNhan="079123456789"), "NgayTiepNhan_readable"),
        (message("A", NgayTiepNhan="20260231080000"), "NgayTiepNhan_readable"),
        (message("A", NgayTiepNhan=""), "some_date_present"),
        (message("A", MaTTHC=" "), "MaTTHC_present"),
        (message("A", DonViXuLy=None), "DonViXuLy_present"),
        (message("", ChuHoSo=CANARY), "MaHoSo_present"),
        (message("A", MaTTHC={"ten": CANARY}), "unreadable_record"),
    ],
)
def test_what_breaks_the_contract_is_kept_out_once_with_its_reason(
    home: Home, record: dict[str, Any], reason: str
) -> None:
    home.sources = log_of(home, message("B"), record)
    assert told(home.night("n1")["messages"]) == (2, 1, 0, 1)
    home.sources = log_of(home, record, name="2026-10-02_0001.ndjson")
    assert told(home.night("n2")["messages"])[3] == 1
    rows = home.lake.read(RAW_QUARANTINE).to_pylist()
    assert {row["reason"] for row in rows} == {reason}
    assert len(rows) == (2 if reason == "unreadable_record" else 1)  # an unreadable one is known by its place only
    text = json.dumps(rows, default=str, ensure_ascii=False)
    assert "Canary" not in text
    assert "079123456789" not in text


def test_counts_that_do_not_close_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="3 rows read, but 2 accounted for"):
        SourceCount("portal", 3, 1, 1, 0, SEPTEMBER, NOW)


def test_progress_is_told_while_it_happens(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencps, "BATCH_ROWS", 1)
    heard: list[tuple[str, int]] = []
    extract(
        "portal",
        home.sources["portal"],
        window=(SEPTEMBER, NOW),
        lake=home.lake,
        database=home.database,
        night="n1",
        now=NOW,
        on_progress=lambda name, rows: heard.append((name, rows)),
    )
    assert len(heard) == 4  # the overlap before September, September, October; the zone of the index
    assert [rows for _, rows in heard] == sorted(rows for _, rows in heard)


def test_a_probe_says_what_it_found(home: Home) -> None:
    assert "17 sites" in probe("portal", home.sources["portal"])
    assert "logged in" in probe("onestop", home.sources["onestop"])
    assert ".ndjson" in probe("messages", home.sources["messages"], home=home.root)


@pytest.mark.parametrize(
    ("source", "changes", "environment", "key"),
    [
        ("portal", {}, {"THUOCDO_PORTAL_PASSWORD": "wrong"}, r"sources\.portal\.username_env, password_env"),
        ("portal", {}, {"THUOCDO_PORTAL_PASSWORD": ""}, r"sources\.portal\.password_env.*THUOCDO_PORTAL_PASSWORD"),
        ("portal", {"base_url": "http://127.0.0.1:9/x"}, {}, r"sources\.portal\.base_url"),
        ("onestop", {}, {"THUOCDO_ONESTOP_CLIENT_SECRET": "wrong"}, r"sources\.onestop\.client_id_env"),
        ("onestop", {"token_url": "http://127.0.0.1:9/x"}, {}, r"sources\.onestop\.token_url"),
        ("messages", {"folder": Path("nowhere")}, {}, r"sources\.messages\.folder"),
    ],
)
def test_a_probe_names_the_key_at_fault(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    *,
    source: str,
    changes: dict[str, Any],
    environment: dict[str, str],
    key: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = home.sources[source].model_copy(update=changes)
    with stamina.set_testing(True, attempts=2), pytest.raises(UnreachableSource, match=key) as caught:
        probe(source, settings, home=home.root)
    assert "wrong" not in str(caught.value)


def test_stored_days_answer_what_the_portal_walk_asks(home: Home) -> None:
    home.night("n1", source="portal")
    days = StoredDays.of(home.lake)
    rows = home.lake.read(RAW_PORTAL).to_pylist()
    site = int(rows[0]["groupId"])
    expected = sum(
        int(row["groupId"]) == site and row["submitDate"][3:10] == "10/2026" for row in rows if row["submitDate"]
    )
    first, last = datetime(2026, 10, 1, tzinfo=VIETNAM).date(), datetime(2026, 10, 31, tzinfo=VIETNAM).date()
    assert days.known(site, "submit", first, last) == expected
    assert days.known(-1, "submit", first, last) == 0
