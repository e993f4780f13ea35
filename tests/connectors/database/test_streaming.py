"""What a replica does under a reader: nothing is lost, nothing is read for ever, and a kill changes nothing.

Why this level: the cursors are only right together with the extraction that stores them, and the servers'
own transactions decide what is visible when. So: real servers, real connections, the real extraction.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from assets.raw.extraction import extract
from assets.raw.tables import profiled_table
from connectors.protocol import Permanent, Span
from tests.connectors.database.conftest import SOURCE, START, Home, Server
from tests.connectors.database.small import (
    DOSSIER,
    FIRST,
    NIGHT,
    PAYMENT,
    PROFILE,
    at,
    change,
    dossier,
    put,
    read,
    records,
    small,
    source,
)

NEXT = NIGHT + timedelta(days=1)
#: What some systems write where nothing is known.
LONG_AGO = datetime(1900, 1, 1)  # noqa: DTZ001  columns without a zone


def _codes(home: Home) -> set[str]:
    return {row["dossier_code"] for row in home.raw().values()}


def _facts(home: Home) -> dict[str, dict[str, Any]]:
    when = ("night", "extracted_at")
    return {key: {name: row[name] for name in row if name not in when} for key, row in home.raw().items()}


def test_every_row_is_read_once_although_many_share_an_instant(server: Server, tmp_path: Path) -> None:
    settings = small(server, tmp_path)
    put(server, *(dossier(number, at(500)) for number in range(35)), *(dossier(n, at(400)) for n in range(35, 50)))
    found = records(read(settings, FIRST)).to_pylist()
    assert [int(row["record_id"]) for row in found] == list(range(50))


def test_rows_without_a_usable_instant_are_read_every_night(postgresql: Server, tmp_path: Path) -> None:
    home = Home(tmp_path, small(postgresql, tmp_path))
    put(postgresql, *(dossier(number, None) for number in range(12)), dossier(12, LONG_AGO), dossier(13, at(90)))
    assert home.night(NIGHT).rows_read == 14
    change(postgresql, 3, Status="y")
    put(postgresql, dossier(14, None))
    home.night(NEXT)
    assert home.raw()["3"]["status"] == "y"
    assert "14" in home.raw()


def test_a_late_commit_with_an_older_time_is_read_the_next_night(server: Server, tmp_path: Path) -> None:
    """Two connections: the row is written before the night, with the time of writing, and committed after it."""
    home = Home(tmp_path, small(server, tmp_path))
    put(server, dossier(1, at(300)), dossier(2, at(15)))
    with server.writing() as slow:
        slow.execute(DOSSIER.insert(), [dossier(3, at(40))])
        home.night(NIGHT)
        assert _codes(home) == {"H15-0001", "H15-0002"}
    home.night(NEXT)
    assert _codes(home) == {"H15-0001", "H15-0002", "H15-0003"}


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_clock_that_is_seconds_behind_loses_nothing(postgresql: Server, tmp_path: Path, seconds: int) -> None:
    """Another application postgresql stamps its rows with an earlier time than what was already read."""
    home = Home(tmp_path, small(postgresql, tmp_path, overlap_minutes=1))
    put(postgresql, dossier(1, at(30)))
    home.night(NIGHT)
    put(postgresql, dossier(2, at(30) - timedelta(seconds=seconds)))
    home.night(NEXT)
    assert _codes(home) == {"H15-0001", "H15-0002"}


def test_a_replica_that_stood_still_is_read_from_where_it_stood(postgresql: Server, tmp_path: Path) -> None:
    """Its own clock went on, so only the newest row seen says how far it was."""
    home = Home(tmp_path, small(postgresql, tmp_path))
    put(postgresql, dossier(1, at(60 * 9)))
    home.night(NIGHT)
    # What was done in the hours before the night arrives after it.
    put(postgresql, dossier(2, at(60 * 5)))
    home.night(NEXT)
    assert _codes(home) == {"H15-0001", "H15-0002"}
    assert datetime.fromisoformat(home.cursors()["modified"]["until"]) == NEXT


def test_the_cursor_is_never_ahead_of_the_servers_clock(postgresql: Server, tmp_path: Path) -> None:
    settings = small(postgresql, tmp_path, lag_minutes=10)
    put(postgresql, dossier(1, datetime(2062, 1, 1)))  # noqa: DTZ001
    far = Span(FIRST.start, datetime.now(UTC) + timedelta(days=30), is_update=False)
    batches = read(settings, far)
    untils = [datetime.fromisoformat(b.cursors["modified"]["until"]) for b in batches if "modified" in b.cursors]
    assert records(batches).num_rows == 1
    assert untils
    assert max(untils) <= datetime.now(UTC) - timedelta(minutes=9)


def test_unchanged_rows_of_the_overlap_are_not_stored_again(postgresql: Server, tmp_path: Path) -> None:
    home = Home(tmp_path, small(postgresql, tmp_path))
    put(postgresql, *(dossier(number, at(20)) for number in range(25)))
    home.night(NIGHT)
    again = home.night(NEXT)
    assert (again.rows_read, again.rows_stored, again.rows_unchanged) == (25, 0, 25)


def test_a_table_that_grows_while_it_is_read(server: Server, tmp_path: Path) -> None:
    """New rows, and a read row that is changed and one not read yet that jumps to the end."""
    settings = small(server, tmp_path)
    put(server, *(dossier(number, at(500 - number)) for number in range(40)))

    def meanwhile(number: int, _: Any) -> None:
        if number == 3:
            put(server, *(dossier(n, at(1)) for n in range(40, 55)))
            change(server, 2, Status="y", Changed=at(0.5))
            change(server, 39, Status="y", Changed=at(0.5))

    found = {
        row["record_id"]: row["status"] for row in records(read(settings, FIRST, after_each=meanwhile)).to_pylist()
    }
    assert set(found) == {str(number) for number in range(55)}
    assert (found["2"], found["39"], found["5"]) == ("y", "y", "x")


def test_a_payment_that_changes_alone_brings_its_dossier(server: Server, tmp_path: Path) -> None:
    home = Home(tmp_path, small(server, tmp_path))
    put(server, *(dossier(number, at(60 * 24 * 3)) for number in range(30)))
    put(
        server, *({"Id": n, "Dossier": n, "Amount": 5000, "Changed": at(60 * 24 * 3)} for n in range(30)), table=PAYMENT
    )
    home.night(NIGHT)
    with server.writing() as connection:
        connection.execute(PAYMENT.update().where(PAYMENT.c.Id == 7).values(Amount=7000, Changed=at(-60)))
    put(server, {"Id": 31, "Dossier": 8, "Amount": 100, "Changed": at(-61)}, table=PAYMENT)
    again = home.night(NEXT)
    assert again.rows_stored == 2
    amounts = {key: [p["amount_vnd"] for p in home.raw()[key]["payments"]] for key in ("6", "7", "8")}
    assert amounts == {"6": ["5000.00"], "7": ["7000.00"], "8": ["5000.00", "100.00"]}


def test_the_stream_of_payments_comes_as_far_as_the_dossiers(postgresql: Server, tmp_path: Path) -> None:
    """Payments that are read with their dossiers leave nothing to find, and are not looked for again for ever."""
    settings = small(postgresql, tmp_path)
    put(postgresql, dossier(1, at(90)))
    put(postgresql, {"Id": 1, "Dossier": 1, "Amount": 1, "Changed": at(120)}, table=PAYMENT)
    last = {stream: position for batch in read(settings, FIRST) for stream, position in batch.cursors.items()}
    assert (
        last["lists.payments"]["seen"]
        == last["modified"]["seen"]
        == (NIGHT - timedelta(minutes=90)).astimezone(UTC).isoformat()
    )


def test_what_is_deleted_by_flag_or_for_good_is_told(server: Server, tmp_path: Path) -> None:
    home = Home(tmp_path, small(server, tmp_path, full_comparison_days=7))
    put(server, *(dossier(number, at(90)) for number in range(40)))
    home.night(NIGHT)
    change(server, 4, Removed=True, Changed=at(-30))
    with server.writing() as connection:
        connection.execute(DOSSIER.delete().where(DOSSIER.c.Id == 5))
    # The server's own clock says when a comparison is due.
    positions = home.cursors()
    week_ago = datetime.fromisoformat(positions["comparison"]["compared_at"]) - timedelta(days=7)
    home.database.move_cursor(SOURCE, "comparison", {"compared_at": week_ago.isoformat()}, lake_version=0)
    told = home.night(NEXT)
    raw = home.raw()
    assert (raw["4"]["is_deleted"], raw["4"]["is_gone"]) == ("1", False)
    assert told.rows_gone == 1
    assert [key for key, row in raw.items() if row["is_gone"]] == ["5"]


def test_no_comparison_before_it_is_due(postgresql: Server, tmp_path: Path) -> None:
    settings = small(postgresql, tmp_path, full_comparison_days=7)
    put(postgresql, dossier(1, at(90)))
    first = read(settings, FIRST)
    positions = {stream: position for batch in first for stream, position in batch.cursors.items()}
    assert not any(part.wholes for batch in first for part in batch.parts)
    second = read(settings, Span(NIGHT, NEXT, is_update=True), positions=positions)
    assert not any(part.wholes for batch in second for part in batch.parts)


def test_killed_between_chunks_and_run_again_is_as_if_nothing_had_happened(postgresql: Server, tmp_path: Path) -> None:
    settings = small(postgresql, tmp_path)
    put(postgresql, *(dossier(number, at(5000 - 100 * number)) for number in range(45)))
    put(postgresql, *({"Id": n, "Dossier": n, "Amount": 1, "Changed": at(9)} for n in range(45)), table=PAYMENT)
    undisturbed, killed = Home(tmp_path / "a", settings), Home(tmp_path / "b", settings)
    undisturbed.night(NIGHT)
    for batches in (2, 4):
        left = batches

        def kill(_: str, __: int) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            extract(
                SOURCE,
                settings,
                window=(START, NIGHT),
                lake=killed.lake,
                database=killed.database,
                night="killed",
                now=NIGHT + timedelta(minutes=10),
                on_progress=kill,
            )
    killed.night(NIGHT)
    assert _facts(killed) == _facts(undisturbed)
    assert killed.lake.read(profiled_table(SOURCE)).num_rows == 45
    assert killed.cursors() == undisturbed.cursors()


def test_a_column_that_comes_or_changes_is_told_once_and_stops_nothing(server: Server, tmp_path: Path) -> None:
    home = Home(tmp_path, small(server, tmp_path))
    put(server, dossier(1, at(90)))
    assert home.night(NIGHT).notes == ()
    quote = server.engine.dialect.identifier_preparer.quote
    with server.engine.begin() as connection:
        table = f"{quote(server.schema)}.dossier"
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {quote('Ward')} INTEGER")
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {quote('Owner')}")
    put(server, {name: value for name, value in dossier(2, at(30)).items() if name != "Owner"})
    count = home.night(NIGHT + timedelta(days=1))
    assert count.rows_stored == 1
    assert count.notes == (
        f"nguồn {SOURCE}: trường mới «dossier.Ward» (ngoài hợp đồng, không lưu)",
        f"nguồn {SOURCE}: không còn trường «dossier.Owner» (trường không được dùng)",
    )
    assert home.night(NIGHT + timedelta(days=2)).notes == ()


def test_a_column_that_is_gone_is_named(server: Server, tmp_path: Path) -> None:
    settings = small(server, tmp_path)
    put(server, dossier(1, at(90)))
    with server.engine.begin() as connection:
        quote = server.engine.dialect.identifier_preparer.quote
        connection.exec_driver_sql(f"ALTER TABLE {quote(server.schema)}.dossier DROP COLUMN {quote('Papers')}")
    with pytest.raises(Permanent, match=r"fields\.has_result: table \S+dossier has no column 'Papers'") as caught:
        read(settings, FIRST)
    assert caught.value.key == "profile"


def test_a_column_that_vanishes_between_chunks_is_named_too(server: Server, tmp_path: Path) -> None:
    settings = small(server, tmp_path)
    put(server, *(dossier(number, at(500 - number)) for number in range(40)))

    def drop(number: int, _: Any) -> None:
        if number == 3:
            quote = server.engine.dialect.identifier_preparer.quote
            with server.engine.begin() as connection:
                connection.exec_driver_sql(f"ALTER TABLE {quote(server.schema)}.dossier DROP COLUMN {quote('Papers')}")

    with pytest.raises(Permanent, match=r"fields\.has_result: table \S+dossier has no column 'Papers'"):
        read(settings, FIRST, after_each=drop)


def test_a_table_that_is_not_there_is_named(postgresql: Server, tmp_path: Path) -> None:
    postgresql.tables(sa.MetaData())
    with pytest.raises(Permanent, match="profile key table: no table 'dossier' in schema"):
        read(source(postgresql, tmp_path), FIRST)


def test_without_a_modified_column_everything_is_read_every_night(postgresql: Server, tmp_path: Path) -> None:
    profile = {key: value for key, value in PROFILE.items() if key != "modified"}
    home = Home(tmp_path, small(postgresql, tmp_path, profile=profile))
    put(postgresql, *(dossier(number, None) for number in range(25)))
    assert home.night(NIGHT).rows_stored == 25
    change(postgresql, 9, Status="y")
    again = home.night(NEXT)
    assert (again.rows_read, again.rows_stored) == (25, 1)


def test_a_back_fill_reads_its_span_and_moves_no_cursor(postgresql: Server, tmp_path: Path) -> None:
    home = Home(tmp_path, small(postgresql, tmp_path, overlap_minutes=0))
    put(postgresql, *(dossier(number, at(60 * 24 * number)) for number in range(1, 30)))
    home.night(NIGHT, start=NIGHT - timedelta(days=5))
    before = home.cursors()
    count = home.night(NIGHT - timedelta(days=10), start=NIGHT - timedelta(days=20), now=NEXT)
    # The span's end is open, its start is not.
    assert count.rows_read == 10
    assert home.cursors() == before
