"""What a source no longer has: when it is believed, when it is doubted, and what an operator is told.

The servers are functions behind the real loop and the real door; each test is one case of the rule that only a
comparison with everything in a window, or the source's own word, makes a tombstone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.raw.extraction import SourceCount, extract
from assets.raw.tables import RAW_ONESTOP, RAW_PORTAL
from connectors.protocol import Call, Guard, Reply, Transient
from connectors.sources import SourceSettings
from tests.connectors.test_igate import settings as onestop_settings
from tests.connectors.test_opencps import asked
from tests.connectors.test_opencps import settings as portal_settings
from tests.raw.test_interleaving import Respond, answering, json_reply
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.schema import Table

FIRST = datetime(2026, 8, 1, tzinfo=UTC)
NOW = datetime(2026, 10, 8, 3, tzinfo=UTC)
DAY = timedelta(days=1)


class Home:
    """A lake and a database for one source; the first night reads from 1 August 2026, each later one its day."""

    def __init__(self, root: Path, name: str, settings: SourceSettings, table: Table) -> None:
        self.lake, self.database = Lake(f"{root}/lake"), Database.open(f"sqlite:///{root / 'd.db'}")
        self.name, self.settings, self.table, self.nights = name, settings, table, 0

    def night(self, respond: Respond) -> SourceCount:
        now = NOW + self.nights * DAY
        self.nights += 1
        with answering(respond):
            return extract(
                self.name,
                self.settings,
                window=(FIRST if self.nights == 1 else now - DAY, now),
                lake=self.lake,
                database=self.database,
                night=f"n{self.nights}",
                now=now,
            )[0]

    def there(self) -> set[str]:
        """Keys of records whose newest version is no tombstone."""
        rows = self.lake.read(self.table).sort_by("extracted_at").to_pylist()
        return {key for key, row in {row["record_key"]: row for row in rows}.items() if not row["is_gone"]}

    def versions(self, key: str) -> list[bool]:
        """Whether each version of a record, oldest first, is a tombstone."""
        rows = self.lake.read(self.table).sort_by("extracted_at").to_pylist()
        return [row["is_gone"] for row in rows if row["record_key"] == key]


def day_first(at: datetime) -> str:
    return f"{at:%d/%m/%Y %H:%M:%S}"


class FakePortal:
    """One site; `dossiers` is the database, `lost` are those that the index does not show."""

    def __init__(self, submitted: Iterable[datetime], *, zone_hours: int = 7) -> None:
        self.dossiers = {number: self.dossier(number, at) for number, at in enumerate(submitted, start=1)}
        self.lost: set[int] = set()
        self.asked_alone: list[int] = []
        self.shift = timedelta(hours=7 - zone_hours)

    @staticmethod
    def dossier(number: int, at: datetime) -> dict[str, Any]:
        return {
            "dossierId": number,
            "originality": "1",
            "serviceCode": "1.001612",
            "govAgencyCode": "H15.1",
            "dossierStatus": "done",
            "submitDate": day_first(at),
            "modifiedDate": day_first(at),
        }

    def __call__(self, call: Call) -> Reply:
        if found := re.fullmatch(r"/dossiers/(\d+)", call.path):
            self.asked_alone.append(int(found[1]))
            return json_reply(self.dossiers.get(int(found[1]), {}))
        if call.path != "/dossiers":
            return json_reply({})
        query = asked(call)
        rows = [self._indexed(row) for number, row in self.dossiers.items() if number not in self.lost]
        if query.get("originality") == "-1":
            rows = [row for row in rows if "3" < row["originality"] <= "99"]
        else:
            rows = [row for row in rows if "0" <= row["originality"] <= "4"]
        rows = [row for row in rows if self._is_in(row, query)]
        return json_reply({"total": len(rows), "data": rows[int(query["start"]) : int(query["end"])]})

    @staticmethod
    def _indexed(row: dict[str, Any]) -> dict[str, Any]:
        number = int(row["originality"])
        return row | {"originality": str(number if number >= 0 else 99 + number)}

    def _is_in(self, row: dict[str, Any], query: dict[str, str]) -> bool:
        if "top" in query or any(name in query for name in ("fromReceiveDate", "fromReleaseDate", "fromFinishDate")):
            return False
        day = (datetime.strptime(row["submitDate"], "%d/%m/%Y %H:%M:%S") - self.shift).date()  # noqa: DTZ007
        first, last = (datetime.strptime(query[f"{end}SubmitDate"], "%d/%m/%Y").date() for end in ("from", "to"))  # noqa: DTZ007
        return first <= day <= last


def portal_home(root: Path, **changes: int) -> Home:
    return Home(root, "portal", portal_settings(**{"page_rows": 50, "full_comparison_days": 1, **changes}), RAW_PORTAL)


def keys(numbers: Iterable[int]) -> set[str]:
    return {f"7:{number}" for number in numbers}


AUGUST = [FIRST + timedelta(hours=10 + number) for number in range(60)]


def test_a_dossier_that_the_database_forgot_is_gone_and_comes_back_as_a_new_version(tmp_path: Path) -> None:
    home, portal = portal_home(tmp_path), FakePortal(AUGUST)
    home.night(portal)
    erased = portal.dossiers.pop(5)
    count = home.night(portal)
    assert (count.rows_gone, count.rows_missing, count.rows_stored) == (1, 0, 0)
    assert home.there() == keys(range(1, 61)) - keys([5])
    assert home.night(portal).rows_gone == 0  # once is enough
    portal.dossiers[5] = erased
    assert home.night(portal).rows_stored == 1
    assert (home.versions("7:5"), home.versions("7:6")) == ([False, True, False], [False])


def test_a_tombstone_says_what_the_last_version_said(tmp_path: Path) -> None:
    home, portal = portal_home(tmp_path), FakePortal(AUGUST)
    home.night(portal)
    portal.dossiers.pop(5)
    home.night(portal)
    last, tomb = (
        row for row in home.lake.read(RAW_PORTAL).sort_by("extracted_at").to_pylist() if row["dossierId"] == 5
    )
    stamps = {"content_hash", "extracted_at", "night", "is_gone"}
    assert {name: tomb[name] for name in tomb.keys() - stamps} == {name: last[name] for name in last.keys() - stamps}
    assert (tomb["night"], tomb["is_gone"], tomb["extracted_at"] > last["extracted_at"]) == ("n2", True, True)


def test_an_index_that_lost_half_its_rows_has_deleted_nothing_and_the_night_says_so(tmp_path: Path) -> None:
    home, portal = portal_home(tmp_path), FakePortal(AUGUST)
    home.night(portal)
    portal.lost = set(range(1, 31))
    count = home.night(portal)
    assert (count.rows_gone, count.rows_missing, portal.asked_alone) == (0, 30, [])
    assert any("30 trên 60" in note and "giữ nguyên" in note for note in count.notes)
    assert home.there() == keys(range(1, 61))
    (written,) = home.database.absences("n2")
    assert (written["rows_gone"], written["rows_missing"], written["notes"]) == (0, 30, list(count.notes))


def test_an_index_that_is_late_hides_nothing_that_the_database_has(tmp_path: Path) -> None:
    home, portal = portal_home(tmp_path), FakePortal(AUGUST)
    home.night(portal)
    portal.lost = {7, 8}
    portal.dossiers.pop(8)
    count = home.night(portal)
    assert (count.rows_gone, count.rows_missing) == (1, 1)
    assert home.there() == keys(range(1, 61)) - keys([8])
    assert sorted(portal.asked_alone) == [7, 8]


def test_a_turned_sign_is_seen_the_next_night_without_any_comparison(tmp_path: Path) -> None:
    home, portal = portal_home(tmp_path, full_comparison_days=0), FakePortal(AUGUST)
    portal.dossiers[60]["originality"] = "3"
    # What changed last is of today: August is in no window of the next night.
    portal.dossiers[1]["modifiedDate"] = day_first(NOW)
    home.night(portal)
    portal.dossiers[5]["originality"], portal.dossiers[60]["originality"] = "-1", "-3"
    # What the same question also finds is no dossier that was deleted: another kind, and a group.
    portal.dossiers[70] = FakePortal.dossier(70, AUGUST[0]) | {"originality": "4"}
    portal.dossiers[71] = FakePortal.dossier(71, AUGUST[0]) | {"originality": "9"}
    count = home.night(portal)
    assert (count.rows_gone, count.rows_missing, portal.asked_alone) == (2, 0, [])
    assert home.there() == keys(range(1, 60)) - keys([5])
    assert home.lake.read(RAW_PORTAL).num_rows == 62


def test_more_absences_than_may_be_asked_about_wait_for_the_next_nights(tmp_path: Path) -> None:
    home, portal = portal_home(tmp_path, confirmations=4), FakePortal(AUGUST)
    home.night(portal)
    for number in range(1, 11):
        portal.dossiers.pop(number)
    counts = [home.night(portal) for _ in range(4)]
    assert [count.rows_gone for count in counts] == [4, 4, 2, 0]
    assert any("chưa hỏi lại" in note for note in counts[0].notes)
    assert not counts[2].notes
    assert home.there() == keys(range(11, 61))


def test_a_window_that_is_really_empty_does_not_stop_the_nights(tmp_path: Path) -> None:
    home, portal = portal_home(tmp_path), FakePortal([NOW - DAY])
    home.night(portal)
    portal.dossiers.clear()
    assert home.night(portal).rows_gone == 1
    assert home.there() == set()


def test_an_empty_list_is_no_answer_while_the_database_has_the_dossier(tmp_path: Path) -> None:
    home, portal = portal_home(tmp_path), FakePortal([NOW - DAY])
    home.night(portal)
    portal.lost = {1}
    with pytest.raises(Transient, match="0 dossiers, but 1 are stored"):
        home.night(portal)
    assert home.there() == keys([1])


@pytest.mark.slow
def test_what_changed_outside_every_window_is_found_by_the_comparison(tmp_path: Path) -> None:
    home, portal = portal_home(tmp_path, full_comparison_days=30), FakePortal(AUGUST)
    home.night(portal)
    portal.dossiers[5] |= {"dossierSubStatus": "x", "modifiedDate": day_first(NOW)}
    stored = [home.night(portal).rows_stored for _ in range(31)]
    assert sum(stored) == 1


def test_the_history_is_compared_once_in_so_many_nights(tmp_path: Path) -> None:
    portal = FakePortal([FIRST + number * DAY for number in range(60)])
    home = portal_home(tmp_path, full_comparison_days=5)
    home.night(portal)
    for number in range(1, 55, 6):
        portal.dossiers.pop(number)
    gone = [home.night(portal).rows_gone for _ in range(5)]
    assert sum(gone) == 9
    assert max(gone) < 5  # a part of it each night


@pytest.mark.parametrize(("zone_hours", "shift"), [(7, 0), (0, -7)])
def test_how_the_index_keeps_its_days_is_found_by_asking(tmp_path: Path, zone_hours: int, shift: int) -> None:
    early = [datetime(2026, 10, 6, hour, 30, tzinfo=UTC) for hour in (2, 9)]
    home, portal = portal_home(tmp_path), FakePortal(early, zone_hours=zone_hours)
    home.night(portal)
    assert home.database.cursors()["portal"]["index_zone"] == {"shift_hours": shift, "found_on": "2026-10-08"}


def test_an_index_that_keeps_its_days_otherwise_than_before_is_told(tmp_path: Path) -> None:
    early = [datetime(2026, 10, 6, 2, 30, tzinfo=UTC)]
    home, portal = portal_home(tmp_path, zone_probe_days=1), FakePortal(early)
    assert home.night(portal).notes == ()
    portal.shift = timedelta(hours=7)
    (note,) = home.night(portal).notes
    assert "trước đây ghi ngày lệch 0 giờ" in note
    assert "nay lệch -7 giờ" in note


def test_without_a_dossier_of_the_early_hours_nothing_is_said_of_the_zone(tmp_path: Path) -> None:
    home = portal_home(tmp_path)
    home.night(FakePortal([datetime(2026, 10, 6, 9, tzinfo=UTC)]))
    assert "index_zone" not in home.database.cursors()["portal"]


@pytest.mark.parametrize(
    ("missing", "known", "doubted"),
    [(20, 20, False), (21, 100, True), (21, 105, False), (30, 100, True), (0, 0, False)],
)
def test_a_guard_doubts_only_what_is_much_and_a_large_share(missing: int, known: int, *, doubted: bool) -> None:
    assert Guard(share=0.2, floor=20).doubts(missing, known) is doubted


class FakeOneStop:
    """Newest change first, as id → (code, time of the change); a code can be asked for, if the server filters."""

    def __init__(self, count: int) -> None:
        self.rows = {f"d{n}": (f"H15-{n}", FIRST + timedelta(hours=n)) for n in range(1, count + 1)}
        self.filters = True

    def __call__(self, call: Call) -> Reply:
        query = asked(call)
        if "dossier-ids" in query:
            return json_reply([])
        rows = sorted(self.rows.items(), key=lambda row: row[1][1], reverse=True)
        if "code" in query and self.filters:
            rows = [row for row in rows if row[1][0] == query["code"]]
        page, size = int(query["page"]), int(query["size"])
        content = [self._item(*row) for row in rows[page * size : (page + 1) * size]]
        return json_reply({"content": content, "totalElements": len(rows), "last": (page + 1) * size >= len(rows)})

    @staticmethod
    def _item(identity: str, said: tuple[str, datetime]) -> dict[str, Any]:
        return {
            "id": identity,
            "code": said[0],
            "dossierStatus": {"id": 2, "name": "Đang xử lý"},
            "procedure": {"code": "1.001612"},
            "agency": {"code": "H15.1"},
            "appliedDate": "2026-08-01T08:00:00.000+0700",
            "updatedDate": said[1].strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        }


def onestop_home(root: Path, **changes: int) -> Home:
    said = {"page_rows": 5, "full_comparison_days": 1, **changes}
    return Home(root, "onestop", onestop_settings(**said), RAW_ONESTOP)


def test_a_dossier_that_the_one_stop_forgot_is_gone(tmp_path: Path) -> None:
    home, onestop = onestop_home(tmp_path), FakeOneStop(12)
    home.night(onestop)
    onestop.rows.pop("d3")
    assert home.night(onestop).rows_gone == 1
    assert home.there() == onestop.rows.keys()


def test_nothing_is_gone_on_the_word_of_a_search_that_does_not_filter(tmp_path: Path) -> None:
    home, onestop = onestop_home(tmp_path), FakeOneStop(12)
    home.night(onestop)
    onestop.rows.pop("d3")
    onestop.filters = False
    count = home.night(onestop)
    assert (count.rows_gone, count.rows_missing, "d3" in home.there()) == (0, 1, True)


def test_between_comparisons_the_nights_read_only_what_is_new(tmp_path: Path) -> None:
    home, onestop = onestop_home(tmp_path, full_comparison_days=3), FakeOneStop(12)
    home.night(onestop)
    onestop.rows.pop("d3")
    assert [home.night(onestop).rows_gone for _ in range(4)] == [0, 0, 1, 0]


def test_what_is_older_than_the_first_load_and_visible_late_is_nobodys_and_so_never_left_behind(tmp_path: Path) -> None:
    """It stood on the last page of a comparison and was stored, and no comparison after that asked for it."""
    home, onestop = onestop_home(tmp_path, full_comparison_days=1, page_rows=5), FakeOneStop(12)
    home.night(onestop)
    onestop.rows["older"] = ("H15-98", FIRST - timedelta(days=1))
    assert [home.night(onestop).rows_stored for _ in range(2)] == [0, 0]
    onestop.rows.pop("older")
    assert home.night(onestop).rows_gone == 0
    assert home.there() == {f"d{number}" for number in range(1, 13)}


@pytest.mark.parametrize(("minutes_late", "nights"), [(15, 1), (60 * 6, 3)])
def test_a_change_that_becomes_visible_late_is_found_within_the_lag_or_by_the_comparison(
    tmp_path: Path, minutes_late: int, nights: int
) -> None:
    home, onestop = onestop_home(tmp_path, full_comparison_days=3, lag_minutes=10), FakeOneStop(12)
    home.night(onestop)
    newest = max(at for _, at in onestop.rows.values())
    # Written before the newest change that was seen, visible only now.
    onestop.rows["late"] = ("H15-99", newest - timedelta(minutes=minutes_late))
    stored = [home.night(onestop).rows_stored for _ in range(4)]
    assert stored == [int(number == nights) for number in range(1, 5)]
