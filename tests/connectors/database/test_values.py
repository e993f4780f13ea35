"""What a value becomes: text as the source wrote it, whichever way it was fetched, and no person.

Why this level: drivers and COPY write the same value differently; only a real server shows it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import TIMESTAMP

from assets.raw.tables import profiled_table
from connectors.database_session import Session, engine_of
from connectors.protocol import Permanent, Transient
from sandbox.people import POOL, people
from sandbox.population import DEFAULT_CLOCK, Population
from sandbox.replica import standing
from tests.connectors.database.conftest import SOURCE, Home, Server, filled, settings_of
from tests.connectors.database.small import DOSSIER, FIRST, PROFILE, at, dossier, put, read, records, small, source

#: Vietnamese with its marks apart, quotes, separators, a line break, what CSV calls nothing.
ODD = ["Bổ sung", 'a "b", c', "dòng 1\ndòng 2", "\\N", "", None, "  x  ", "%s %(x)s", "t"]


def test_copy_and_plain_rows_say_the_same(postgresql: Server, population: Population) -> None:
    filled(postgresql, "td", population, DEFAULT_CLOCK)
    settings = settings_of(postgresql, "td-database", chunk_rows=200)
    by_copy, by_rows = (records(read(settings, FIRST, copies=copies)) for copies in (True, False))
    assert by_copy.num_rows > 100
    assert by_copy.equals(by_rows)


def test_odd_texts_arrive_as_they_are(server: Server, tmp_path: Path) -> None:
    settings = small(server, tmp_path)
    put(server, *(dossier(number, at(100 - number), Code=text) for number, text in enumerate(ODD)))
    assert records(read(settings, FIRST))["dossier_code"].to_pylist() == ODD


def test_instants_are_local_to_the_profile_with_all_their_digits(server: Server, tmp_path: Path) -> None:
    settings = small(server, tmp_path, profile={**PROFILE, "zones": {"Changed": "UTC"}})
    moment = datetime(2026, 10, 30, 17, 30, 0, 123456, tzinfo=UTC)
    put(server, dossier(1, moment.replace(tzinfo=None), Received=datetime(2026, 10, 30, 7, 30)))  # noqa: DTZ001
    (row,) = records(read(settings, FIRST)).to_pylist()
    assert row["modified_at"] == "2026-10-31 00:30:00.123456"
    assert row["received_at"] == "2026-10-30 07:30:00.000000"


def test_columns_with_a_zone_become_local_time(server: Server, tmp_path: Path) -> None:
    """`timestamptz` of PostgreSQL, and TIMESTAMP of MySQL, which is shown in the session's zone."""
    kind = sa.DateTime(timezone=True).with_variant(TIMESTAMP(fsp=6), "mysql", "mariadb")
    metadata = sa.MetaData()
    zoned = sa.Table(
        "dossier",
        metadata,
        sa.Column("Id", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.String(50)) for name in ("Code", "Status", "Papers")),
        sa.Column("Received", kind),
        sa.Column("Changed", kind),
        sa.Column("Removed", sa.Boolean),
    )
    server.tables(metadata)
    with server.writing() as connection:
        if server.product == "mariadb":
            connection.exec_driver_sql("SET time_zone = '+00:00'")
        moment = datetime(2026, 10, 30, 17, 30, tzinfo=UTC)
        said = {"Code": "a", "Status": "x", "Removed": False, "Papers": ""}
        rows = [{"Id": number, "Received": moment, "Changed": moment, **said} for number in range(25)]
        connection.execute(zoned.insert(), rows)
    profile = {key: value for key, value in PROFILE.items() if key != "lists"}
    found = records(read(source(server, tmp_path, profile=profile), FIRST)).to_pylist()
    assert {row["received_at"] for row in found} == {"2026-10-31 00:30:00.000000"}
    assert {row["modified_at"] for row in found} == {"2026-10-31 00:30:00.000000"}
    assert len(found) == 25


def test_what_is_no_date_stays_text_or_nothing(server: Server, tmp_path: Path) -> None:
    """`infinity` is quarantined by the contract later, MySQL's zero date is no date."""
    settings = small(server, tmp_path)
    put(server, dossier(1, at(90)), dossier(2, at(80)))
    with server.engine.begin() as connection:
        if server.product == "mariadb":
            connection.exec_driver_sql("SET sql_mode = ''")
        odd = {"mariadb": "'0000-00-00 00:00:00'", "postgresql": "'infinity'"}[server.product]
        quote = server.engine.dialect.identifier_preparer.quote
        statement = f"UPDATE {server.schema}.dossier SET {quote('Received')} = {odd} WHERE {quote('Id')} = 1"
        connection.exec_driver_sql(statement)
    first, second = records(read(settings, FIRST))["received_at"].to_pylist()
    assert first == {"mariadb": None, "postgresql": "infinity"}[server.product]
    assert second == f"{at(600):%Y-%m-%d %H:%M:%S}.000000"


@pytest.mark.parametrize(
    ("papers", "is_there"),
    [("a.pdf##b.pdf", True), ("##", False), (" ## ", False), (None, False), ("##b.pdf", True), ("0", False)],
)
def test_joined_paths_are_reduced_to_yes_or_no(
    postgresql: Server, tmp_path: Path, papers: str | None, is_there: bool
) -> None:
    settings = small(postgresql, tmp_path)
    put(postgresql, dossier(1, at(90), Papers=papers))
    assert records(read(settings, FIRST))["has_result"].to_pylist() == [is_there]


def test_no_person_of_the_tables_reaches_the_lake(postgresql: Server, tmp_path: Path, population: Population) -> None:
    filled(postgresql, "td", population, DEFAULT_CLOCK)
    home = Home(tmp_path, settings_of(postgresql, "td-database", chunk_rows=1000))
    home.night(DEFAULT_CLOCK)
    stored = str(home.lake.read(profiled_table(SOURCE)).to_pylist())
    assert len(stored) > 100_000
    noise = population.whole("noise")[standing(population, DEFAULT_CLOCK, 1)]
    for number in noise[:60] % POOL:
        person = people()[number]
        for said in (person.name, person.slug, person.identity_number, person.phone, person.email):
            assert said not in stored


def test_the_session_cannot_write(server: Server, tmp_path: Path) -> None:
    small(server, tmp_path)
    session = Session(engine_of(server.url), "Asia/Ho_Chi_Minh", attempts=1)
    statement = sa.text(f"DELETE FROM {server.schema}.dossier")
    with pytest.raises((Permanent, Transient), match=r"25006|1792"):
        session.run(lambda connection: connection.execute(statement))
    session.close()


def test_only_a_select_is_fetched(postgresql: Server) -> None:
    from connectors.database_plan import Query  # noqa: PLC0415

    session = Session(engine_of(postgresql.url), "Asia/Ho_Chi_Minh", attempts=1)
    deletion: Any = DOSSIER.delete()
    query = Query(deletion, ())
    with pytest.raises(TypeError, match="only a SELECT"):
        session.run(lambda connection: session.fetch(connection, query))
    session.close()


def test_a_value_that_a_statement_stumbles_over_is_in_no_message(postgresql: Server, tmp_path: Path) -> None:
    """The server would quote it: invalid input syntax for type integer: "079…"."""
    settings = small(postgresql, tmp_path)
    put(postgresql, dossier(1, at(90), Owner="079123456789"))
    session = Session(engine_of(postgresql.url), "Asia/Ho_Chi_Minh", attempts=1)
    statement = sa.text(f'SELECT CAST("Owner" AS boolean) FROM {postgresql.schema}.dossier')
    with pytest.raises(Permanent) as caught:
        session.run(lambda connection: connection.execute(statement))
    session.close()
    assert settings.kind == "database"
    assert "079123456789" not in str(caught.value)
    assert "22P02" in str(caught.value)


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    session = Session(engine_of("postgresql+psycopg://u:MatKhauBiMat@127.0.0.1:1/x"), "UTC", attempts=1)
    with pytest.raises(Transient) as caught:
        session.clock()
    assert "MatKhauBiMat" not in str(caught.value)
    assert caught.value.key == "url_env"


@pytest.mark.parametrize("url", ["khong-phai-url MatKhauBiMat", "khongco://u:MatKhauBiMat@h/x"])
def test_an_unusable_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(Permanent) as caught:
        engine_of(url)
    assert "MatKhauBiMat" not in str(caught.value)


def test_a_missing_driver_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys  # noqa: PLC0415

    monkeypatch.setitem(sys.modules, "pyodbc", None)
    with pytest.raises(Permanent, match=r"pyodbc.*pip install pyodbc"):
        engine_of("mssql+pyodbc://u:p@h/x?driver=ODBC+Driver+18+for+SQL+Server")
