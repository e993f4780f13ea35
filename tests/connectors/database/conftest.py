"""Real servers on this machine: a schema (PostgreSQL) or a database (MariaDB) of its own for every test.

Where a server is missing, its tests are skipped and say so. Addresses can be given by
THUOCDO_TEST_POSTGRES_URL and THUOCDO_TEST_MARIADB_URL.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
import sqlalchemy as sa

from assets.dossiers.conform import ConformResult, conform
from assets.dossiers.profiled import Profiled, profiled_systems
from assets.raw.extraction import SourceCount, extract
from assets.raw.tables import profiled_table
from connectors.database import DatabaseSettings
from orchestration.settings import Province, load_province
from sandbox.codes import PORTAL_METHODS
from sandbox.population import VIETNAM, Population, build_population
from sandbox.replica import REPLICAS
from sandbox.territory import PROVINCE_FOLDER
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.reference import reference_tables

SERVERS = {
    "postgresql": os.environ.get("THUOCDO_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    "mariadb": os.environ.get("THUOCDO_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}
URL_VARIABLE = "THUOCDO_REPLICA_URL"
SOURCE = "replica"
START = datetime(2024, 1, 1, tzinfo=VIETNAM)


@dataclass(frozen=True)
class Server:
    """A server, and the schema in it that belongs to one test."""

    product: str
    url: str
    schema: str
    engine: sa.Engine

    def tables(self, metadata: sa.MetaData) -> None:
        """Create tables in the test's schema."""
        with self.writing() as connection:
            metadata.create_all(connection)

    def writing(self) -> Any:
        """A transaction whose statements mean the test's schema, whatever schema a table was declared in."""
        translated = dict.fromkeys((None, "Business", "Catalog"), self.schema)
        return self.engine.execution_options(schema_translate_map=translated).begin()


def _engine(product: str) -> sa.Engine:
    try:
        engine = sa.create_engine(SERVERS[product])
        engine.connect().close()
    except (ModuleNotFoundError, sa.exc.OperationalError) as error:
        pytest.skip(f"no {product} server to test with ({type(error).__name__}): {SERVERS[product]}")
    return engine


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Each product in turn, with an empty schema."""
    yield from _served(request.param, monkeypatch)


@pytest.fixture
def postgresql(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """PostgreSQL alone."""
    yield from _served("postgresql", monkeypatch)


def _served(product: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    engine, schema = _engine(product), f"thuocdo_{uuid4().hex[:12]}"
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    monkeypatch.setenv(URL_VARIABLE, SERVERS[product])
    try:
        yield Server(product, SERVERS[product], schema, engine)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=product == "postgresql"))
        engine.dispose()


@pytest.fixture(scope="session")
def population() -> Population:
    """A few hundred dossiers with everything that can happen to them."""
    return build_population(400, seed=29)


def settings_of(server: Server, profile: str, **more: Any) -> DatabaseSettings:
    """The source of a test: small chunks, so that every reading has several."""
    said = {"kind": "database", "role": "portal", "profile": profile, "url_env": URL_VARIABLE, "schema": server.schema}
    return DatabaseSettings.model_validate(said | {"chunk_rows": 97, "full_comparison_days": 0} | more)


@dataclass
class Home:
    """A lake and a database that one replica fills, and the province whose tables give codes a meaning."""

    root: Path
    settings: DatabaseSettings
    lake: Lake = field(init=False)
    database: Database = field(init=False)
    nights: int = 0

    def __post_init__(self) -> None:
        self.lake = Lake(str(self.root / "lake"))
        self.database = Database.open(f"sqlite:///{self.root / 'thuocdo.db'}")

    def night(self, at: datetime, *, start: datetime = START, now: datetime | None = None) -> SourceCount:
        """Extract up to `at`; it is `now` then (ten minutes later unless said)."""
        self.nights += 1
        (count,) = extract(
            SOURCE,
            self.settings,
            window=(start, at),
            lake=self.lake,
            database=self.database,
            night=f"n{self.nights}",
            now=now or at + timedelta(minutes=10),
        )
        return count

    def raw(self) -> dict[str, dict[str, Any]]:
        """The newest version of every record, by record_id."""
        rows: list[dict[str, Any]] = self.lake.read(profiled_table(SOURCE)).sort_by("extracted_at").to_pylist()
        return {row["record_id"]: row for row in rows}

    def cursors(self) -> dict[str, dict[str, Any]]:
        """Stored positions, stream by stream."""
        return {stream: dict(position) for stream, position in self.database.cursors().get(SOURCE, {}).items()}

    def conformed(self) -> ConformResult:
        """Bring the core tables up to date."""
        province = self._province()
        for table, rows in reference_tables(province.province_code, province.departments, province.working_calendar()):
            self.lake.replace(table, rows)
        agencies, codes = self._meanings(province)
        return conform(
            self.lake, self.database, agencies=agencies, codes=codes, night=f"n{self.nights}", profiled=self._systems()
        )

    def _systems(self) -> tuple[Profiled, ...]:
        return profiled_systems({SOURCE: self.settings})

    @staticmethod
    def _province() -> Province:
        return load_province(PROVINCE_FOLDER.with_suffix(".yaml"))

    def _meanings(self, province: Province) -> tuple[Path, Path]:
        """The province's own tables, with the units under the replica's name and the free texts of methods."""
        agencies, codes = self.root / "agencies.csv", self.root / "codes.csv"
        lines = province.agencies.read_text(encoding="utf-8").splitlines()
        vendor = "onestop" if self.settings.profile.startswith("td") else "portal"
        lines += [f"{SOURCE},{line.split(',', 1)[1]}" for line in lines if line.startswith(f"{vendor},")]
        agencies.write_text("\n".join(lines) + "\n", encoding="utf-8")
        said = [f"{SOURCE},payment_method,{text},{value}," for value, texts in PORTAL_METHODS.items() for text in texts]
        codes.write_text(province.codes.read_text(encoding="utf-8") + "\n".join(said) + "\n", encoding="utf-8")
        return agencies, codes


def core(home: Home, name: str) -> pa.Table:
    """A core table of the home."""
    from warehouse import tables  # noqa: PLC0415  one name of many

    return home.lake.read(getattr(tables, name))


def filled(server: Server, vendor: str, population: Population, at: datetime) -> None:
    """The vendor's tables, holding the province as it stood at an instant."""
    metadata, fill = REPLICAS[vendor]
    server.tables(metadata)
    with server.writing() as connection:
        fill(connection, population, at)
