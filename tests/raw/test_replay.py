"""What was set aside comes back: under a profile that was mended, or when the source mends the record.

Also drift of a source's fields, which is told once and stops nothing. The source is a list of records in
memory, so that each case is a handful of lines; contract, counts, quarantine and lake are the real ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pytest

from assets.raw import kinds
from assets.raw.extraction import SourceCount, extract
from assets.raw.kinds import SourceKind
from assets.raw.tables import profiled_table
from connectors.contract import SEEN
from connectors.profiled import KIND, SCHEMA, Profile, ProfiledSettings, contract
from connectors.protocol import Batch, Completed, Part, Span
from connectors.records import numbered
from connectors.shape import shape_of
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.tables import RAW_QUARANTINE, RAW_SHAPE

TABLE = profiled_table("listed")
FIRST = datetime(2026, 10, 1, tzinfo=UTC)


class Listed(ProfiledSettings):
    kind: Literal["listed"] = "listed"


class Source:
    """Every record has its day under `at`; a span gives those within it."""

    def __init__(self, records: Sequence[dict[str, Any]], profile: Profile) -> None:
        self.records, self.profile = records, profile
        self.spans: list[Span] = []

    async def batches(self, span: Span) -> AsyncIterator[Batch]:
        self.spans.append(span)
        wanted = [row for row in self.records if span.start <= row["at"] < span.end]
        rows = pa.Table.from_pylist(
            [{key: value for key, value in row.items() if key in SCHEMA.names} for row in wanted], schema=SCHEMA
        )
        raw = [msgspec.json.encode({key: value for key, value in row.items() if key != "at"}) for row in wanted]
        part = Part(contract("listed", self.profile), numbered(rows, 0, SEEN), shape=shape_of(raw))
        yield Batch((part,), {"records": {"until": span.end.isoformat()}})

    async def complete(self, records: pa.Table) -> Completed:
        return Completed(records)


class Store:
    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lake = Lake(str(root / "lake"))
        self.database = Database.open(f"sqlite:///{root / 'thuocdo.db'}")
        self.monkeypatch = monkeypatch

    def night(self, source: Source, day: int) -> SourceCount:
        @asynccontextmanager
        async def opened(*_: Any) -> AsyncIterator[Source]:
            yield source

        kind = SourceKind[Listed](
            tables=lambda _name, _settings: {KIND: TABLE},
            open=opened,
            probe=lambda _: "",
            lag=lambda _: timedelta(0),
        )
        self.monkeypatch.setitem(kinds.KINDS, Listed, kind)
        now = FIRST + timedelta(days=day)
        (count,) = extract(
            "listed",
            Listed(role="onestop", profile="listed"),  # type: ignore[arg-type]
            window=(now - timedelta(days=1), now),
            lake=self.lake,
            database=self.database,
            night=f"n{day}",
            now=now,
        )
        return count

    def open_reasons(self) -> list[tuple[str, str]]:
        rows = self.lake.read(RAW_QUARANTINE).to_pylist()
        return sorted((row["record_key"], row["reason"]) for row in rows if row["settled_at"] is None)

    def stored(self) -> list[str]:
        return sorted(self.lake.read(TABLE)["record_key"].to_pylist())


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(tmp_path, monkeypatch)


def profile(*dates: str) -> Profile:
    return Profile(system="Danh sách", dates=dates)


def record(name: str, submitted: str, *, day: int = 1, **more: Any) -> dict[str, Any]:
    at = FIRST + timedelta(days=day, hours=-1)
    said = {"procedure_code": "1.000001", "agency": "A", "status": "2"}
    return {"record_id": name, "submitted_at": submitted, "at": at, **said, **more}


ISO, VIETNAMESE = "%Y-%m-%d", "%d/%m/%Y"


def test_a_mended_profile_brings_back_what_it_refused(store: Store) -> None:
    records = [record("a", "2026-09-30"), record("b", "30/09/2026")]
    assert store.night(Source(records, profile(ISO)), 1).rows_quarantined == 1
    assert store.stored() == ["listed:a"]
    assert store.open_reasons() == [("listed:b", "submitted_at_readable")]
    mended = Source(records, profile(ISO, VIETNAMESE))
    count = store.night(mended, 2)
    assert store.stored() == ["listed:a", "listed:b"]
    assert store.open_reasons() == []
    # The day of the refused record is read once more; the other record of that day is unchanged.
    assert [span.start for span in mended.spans] == [FIRST + timedelta(days=1), FIRST]
    assert (count.rows_read, count.rows_stored, count.rows_unchanged) == (2, 1, 1)


def test_a_profile_that_still_refuses_is_not_tried_every_night(store: Store) -> None:
    records = [record("b", "30/09/2026")]
    store.night(Source(records, profile(ISO)), 1)
    other = profile(ISO, "%Y/%m/%d")
    again, later = Source(records, other), Source(records, other)
    store.night(again, 2)
    store.night(later, 3)
    assert (len(again.spans), len(later.spans)) == (2, 1)
    assert store.open_reasons() == [("listed:b", "submitted_at_readable")]


def test_a_record_that_its_source_mended_is_settled_and_its_entry_kept(store: Store) -> None:
    store.night(Source([record("a", "soon")], profile(ISO)), 1)
    store.night(Source([record("a", "2026-09-30", day=2)], profile(ISO)), 2)
    assert store.open_reasons() == []
    (entry,) = store.lake.read(RAW_QUARANTINE).to_pylist()
    assert entry["settled_at"] == FIRST + timedelta(days=2)
    assert entry["window_start"] == FIRST


def test_a_record_that_broke_again_after_it_was_settled_is_open_again(store: Store) -> None:
    broken = record("a", "soon")
    store.night(Source([broken], profile(ISO)), 1)
    store.night(Source([record("a", "2026-09-30", day=2)], profile(ISO)), 2)
    store.night(Source([broken | {"at": FIRST + timedelta(days=2, hours=1)}], profile(ISO)), 3)
    assert store.open_reasons() == [("listed:a", "submitted_at_readable")]
    assert store.lake.read(RAW_QUARANTINE).num_rows == 1


def test_drift_is_told_once_for_each_kind_and_stops_nothing(store: Store) -> None:
    plain = profile(ISO)
    assert store.night(Source([record("a", "2026-09-30", extra=1)], plain), 1).notes == ()
    changed = {"fee": "x", "status": "3", "procedure_code": "1.000002"}
    second = {key: value for key, value in (record("b", "2026-10-01", day=2) | changed).items() if key != "agency_name"}
    told = store.night(Source([second | {"record_id": "b", "extra": "text now"}], plain), 2)
    assert told.rows_stored == 1
    assert told.notes == (
        "nguồn listed: trường mới «fee» (ngoài hợp đồng, không lưu)",
        "nguồn listed: trường «extra» đổi kiểu: number → text",
    )
    third = {key: value for key, value in record("c", "2026-10-02", day=3).items() if key != "status"}
    lost = store.night(Source([third], plain), 3)
    assert "nguồn listed: không còn trường «status» (các chỉ số dùng trường này sẽ thiếu dữ liệu)" in lost.notes
    assert lost.rows_quarantined == 1
    assert store.night(Source([third | {"at": FIRST + timedelta(days=3, hours=1)}], plain), 4).notes == ()
    gone = [row for row in store.lake.read(RAW_SHAPE).to_pylist() if row["missing_since"]]
    assert {row["field"] for row in gone} == {"extra", "fee", "status"}


def test_a_field_name_that_no_program_would_choose_is_not_told(store: Store) -> None:
    store.night(Source([record("a", "2026-09-30")], profile(ISO)), 1)
    notes = store.night(Source([record("b", "2026-10-01", day=2) | {"Nguyễn Văn A": "x"}], profile(ISO)), 2).notes
    assert notes == ("nguồn listed: trường mới ««12»» (ngoài hợp đồng, không lưu)",)
