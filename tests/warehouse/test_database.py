"""The audit trail and the cursors, on the databases that are supported: SQLite and PostgreSQL.

Every test runs on both; PostgreSQL is asked for at THUOCDO_TEST_POSTGRES_URL (default: database
`test` of 127.0.0.1:5432, user postgres), in a schema of its own that is dropped afterwards.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from warehouse.database import Database, LakeBehindCursorError, night_table

POSTGRES = os.environ.get("THUOCDO_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new folder' / 'thuocdo.db'}"
        return
    server = sa.create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    schema = f"thuocdo_{uuid.uuid4().hex}"
    try:
        with server.connect() as connection:
            connection.execute(sa.schema.CreateSchema(schema))
    except sa.exc.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {server.url}: set THUOCDO_TEST_POSTGRES_URL ({error.orig})")
    yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    with server.connect() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))
    server.dispose()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """An empty database with its tables."""
    database = Database.open(url)
    yield database
    database.engine.dispose()


def test_no_cursor_before_the_first_batch(database: Database) -> None:
    assert database.cursor("portal", "35417") is None
    assert database.cursors() == {}
    database.check_lake("portal", "35417", -1)


def test_a_cursor_moves_and_streams_are_apart(database: Database) -> None:
    database.move_cursor("portal", "35417", {"start": "2026-01-01"}, lake_version=1)
    database.move_cursor("portal", "35417", {"start": "2026-01-02", "sổ": [1, None]}, lake_version=2)
    database.move_cursor("portal", "35418", {"start": "2025-12-31"}, lake_version=0)
    database.move_cursor("onestop", "35417", {"page": 3}, lake_version=9)
    stored = database.cursor("portal", "35417")
    assert stored is not None
    assert stored.position == {"start": "2026-01-02", "sổ": [1, None]}
    assert stored.lake_version == 2
    assert abs(stored.moved_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert database.cursors() == {
        "onestop": {"35417": {"page": 3}},
        "portal": {"35417": {"start": "2026-01-02", "sổ": [1, None]}, "35418": {"start": "2025-12-31"}},
    }


def test_cursors_outlive_the_process_that_wrote_them(url: str) -> None:
    first = Database.open(url)
    first.move_cursor("portal", "a", {"x": 1}, lake_version=1)
    first.engine.dispose()
    second = Database.open(url)
    assert second.cursors() == {"portal": {"a": {"x": 1}}}
    second.engine.dispose()


def test_a_lake_older_than_its_cursor_is_refused_with_what_to_do(database: Database) -> None:
    database.move_cursor("portal", "a", {}, lake_version=7)
    database.check_lake("portal", "a", 7)
    database.check_lake("portal", "a", 8)
    database.check_lake("portal", "other", 0)
    with pytest.raises(LakeBehindCursorError, match=r"portal, stream a: the lake is at version 6.*version 7.*Restore"):
        database.check_lake("portal", "a", 6)


def test_counts_that_do_not_close_are_refused(database: Database) -> None:
    with pytest.raises(ValueError, match=r"extract of portal: 10 rows read, but 4 stored \+ 3 unchanged \+ 2 .*= 9"):
        database.record_counts(
            "n1", stage="extract", source="portal", rows_read=10, rows_stored=4, rows_unchanged=3, rows_quarantined=2
        )
    assert database.counts("n1") == []


def test_counts_are_written_once_per_stage_and_source(database: Database) -> None:
    vietnam = ZoneInfo("Asia/Ho_Chi_Minh")
    window = (datetime(2026, 1, 31, tzinfo=vietnam), datetime(2026, 2, 1, tzinfo=vietnam))
    for stored in (3, 5):  # a retry of the night writes again
        database.record_counts(
            "n1", stage="extract", source="portal", rows_read=stored, rows_stored=stored, rows_unchanged=0,
            rows_quarantined=0, window=window,
        )  # fmt: skip
    database.record_counts(
        "n1", stage="conform", source="portal", rows_read=5, rows_stored=1, rows_unchanged=2, rows_quarantined=2
    )
    database.record_counts(
        "n2", stage="extract", source="portal", rows_read=0, rows_stored=0, rows_unchanged=0, rows_quarantined=0
    )
    conform, extract = database.counts("n1")
    assert (conform["stage"], conform["rows_quarantined"], conform["window_start"]) == ("conform", 2, None)
    assert (extract["stage"], extract["rows_read"]) == ("extract", 5)
    assert extract["window_start"] == datetime(2026, 1, 30, 17, 0, tzinfo=UTC)
    assert extract["window_end"].utcoffset() == timedelta(0)
    assert len(database.counts("n2")) == 1


def test_extracted_until_is_the_end_that_all_sources_have_reached(database: Database) -> None:
    def read(night: str, source: str, day: int) -> None:
        end = datetime(2026, 1, day, tzinfo=UTC)
        database.record_counts(
            night, stage="extract", source=source, rows_read=0, rows_stored=0, rows_unchanged=0, rows_quarantined=0,
            window=(end - timedelta(days=1), end),
        )  # fmt: skip

    read("n1", "portal", 5)
    assert database.extracted_until(["portal", "onestop"]) is None
    assert database.extracted_until([]) is None
    read("n1", "onestop", 3)
    read("n2", "portal", 4)
    assert database.extracted_until(["portal"]) == datetime(2026, 1, 5, tzinfo=UTC)
    assert database.extracted_until(["portal", "onestop"]) == datetime(2026, 1, 3, tzinfo=UTC)


def test_a_night_begins_once_and_ends(database: Database) -> None:
    as_of = datetime(2026, 1, 31, 18, 0, tzinfo=UTC)
    database.begin_night("n1", province_code="H15")
    assert database.last_night() is None
    with database.engine.connect() as connection:
        (began,) = connection.execute(sa.select(night_table.c.started_at)).scalars()
    database.begin_night("n1", province_code="H15")
    database.end_night("n1", as_of=as_of, publication="20260131T180000.000000Z-n1")
    with database.engine.connect() as connection:
        row = connection.execute(sa.select(night_table)).one()
    assert row.started_at == began
    assert row.as_of == as_of
    assert row.publication == "20260131T180000.000000Z-n1"
    assert row.ended_at >= row.started_at
    assert database.last_night() == "n1"
    database.begin_night("n2", province_code="H15")
    assert database.last_night() == "n1"
    database.end_night("n2", as_of=as_of, publication="p2")
    assert database.last_night() == "n2"


def test_ending_a_night_that_never_began_is_an_error(database: Database) -> None:
    with pytest.raises(LookupError, match="night n9 never began"):
        database.end_night("n9", as_of=datetime(2026, 1, 31, tzinfo=UTC), publication="p")


def test_an_instant_without_a_zone_is_refused(database: Database) -> None:
    database.begin_night("n1", province_code="H15")
    with pytest.raises(sa.exc.StatementError, match="instant without a zone"):
        database.end_night("n1", as_of=datetime(2026, 1, 31, tzinfo=UTC).replace(tzinfo=None), publication="p")


@pytest.mark.timeout(60)
def test_many_may_open_a_new_database_at_once_and_move_their_cursors(url: str) -> None:
    def work(number: int) -> None:
        database = Database.open(url)
        for position in range(15):
            database.move_cursor("portal", f"site{number}", {"at": position}, lake_version=position)
        database.engine.dispose()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    database = Database.open(url)
    assert database.cursors() == {"portal": {f"site{number}": {"at": 14} for number in range(8)}}
    database.engine.dispose()
