"""A read-only session with somebody else's database, and columns fetched from it.

Belongs here: opening by URL, what makes a session read-only in each product, its clock, which tables and
columns are there, fetching a statement into Arrow, and which failures may pass. Does not belong here:
what is asked (`database_plan.py`), or the order in which (`database.py`).

Only SELECTs built by SQLAlchemy are run. On PostgreSQL the same SELECT is fetched through COPY, which the
server writes several times faster than rows can be made into objects; the answer is the same. No text of
a database that was being read reaches a message: it may quote a value.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa
import sqlalchemy as sa
import stamina

from connectors.database_columns import columns_of_csv, texts_of_csv, texts_of_values
from connectors.database_copy import copied
from connectors.database_plan import Found, Query
from connectors.protocol import Permanent, SourceError, Transient

T = TypeVar("T")
#: Driver that a URL names → what installs it. Those without an entry come with the product.
DRIVERS = {
    "pymysql": "pip install PyMySQL",
    "mysqldb": "pip install mysqlclient",
    "mariadbconnector": "pip install mariadb",
    "pyodbc": "pip install pyodbc, and Microsoft's ODBC Driver 18 for SQL Server",
    "pymssql": "pip install pymssql",
    "oracledb": "pip install oracledb",
    "psycopg2": "write postgresql+psycopg:// in the URL",
}
_REPEATABLE = frozenset({"postgresql", "mysql", "mariadb"})
#: What a server's clock is asked by, in UTC or with a zone.
_CLOCKS: dict[str, Callable[[], Any]] = {
    "postgresql": sa.func.clock_timestamp,
    "mysql": lambda: sa.func.utc_timestamp(6),
    "mariadb": lambda: sa.func.utc_timestamp(6),
    "mssql": sa.func.sysutcdatetime,
    "oracle": lambda: sa.func.sys_extract_utc(sa.literal_column("SYSTIMESTAMP")),
}


@dataclass(frozen=True)
class Fetched:
    """Rows of a statement: how many, the last one's first two columns as they came, and the columns as text.

    The columns are made when they are asked for: meanwhile the server can work on the next statement.
    """

    rows: int
    last: tuple[Any, ...]
    columns: Callable[[], Sequence[pa.Array]]


def engine_of(url: str) -> sa.Engine:
    """The engine of a URL; `Permanent` where it is none, or its driver is not installed. The URL is in no message."""
    try:
        parsed = sa.make_url(url)
        # Parameters stay out of messages; nothing waits in a pool between nights.
        return sa.create_engine(parsed, poolclass=sa.NullPool, hide_parameters=True)
    except ModuleNotFoundError as error:
        driver = parsed.drivername.partition("+")[2] or str(error.name)
        hint = DRIVERS.get(driver.lower(), DRIVERS.get(str(error.name).lower(), f"pip install {error.name}"))
        raise Permanent(
            f"driver {error.name} of {parsed.drivername} is not installed", hint=hint, key="url_env"
        ) from None
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError):
        hint = "It must look like postgresql+psycopg://user:password@host:5432/database"
        raise Permanent("the URL is not one that SQLAlchemy knows", hint=hint, key="url_env") from None


@dataclass
class Session:
    """A connection that can only read; it is opened when first used, and again after it broke.

    `zone` is the zone of the profile. `is_guarded`: refuse to read where the session cannot be made read-only.
    """

    engine: sa.Engine
    zone: str
    is_guarded: bool = True
    attempts: int = 3
    #: Fetch through COPY where the server has it.
    copies: bool = True
    _connection: sa.Connection | None = field(default=None, repr=False)
    _turn: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _is_over: bool = False

    @property
    def dialect(self) -> str:
        """Name of the database product, as SQLAlchemy calls it."""
        return self.engine.dialect.name

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        """`work` in a transaction of its own, which sees one state of the database where the product can.

        A failure that may pass is tried again on a new connection. Raises `Transient` or `Permanent`.
        """
        for attempt in stamina.retry_context(on=Transient, attempts=self.attempts, timeout=None, wait_initial=0.5):
            with attempt:
                return self._once(work)
        raise AssertionError("a retry ends by returning or raising")

    def _once(self, work: Callable[[sa.Connection], T]) -> T:
        # A night that is called off leaves the chunk under way to its thread.
        with self._turn:
            if self._is_over:
                raise Permanent("the session with the database was ended", key="url_env")
            return self._in_transaction(self._open(), work)

    def _in_transaction(self, connection: sa.Connection, work: Callable[[sa.Connection], T]) -> T:
        try:
            with connection.begin():
                if self.dialect == "oracle":
                    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                return work(connection)
        except sa.exc.DBAPIError as error:
            self._give_back()
            raise _failure(error) from None
        except _driver_errors(self.engine) as error:
            self._give_back()
            raise _failure(sa.exc.OperationalError("", {}, error)) from None

    def _open(self) -> sa.Connection:
        if self._connection is None:
            try:
                self._connection = self._prepared(self.engine.connect())
            except sa.exc.DBAPIError as error:
                # Nothing was read yet, so the driver can only speak of the connection.
                told = str(error.orig).strip().splitlines()[0]
                raise Transient(f"no connection to the database: {told}", key="url_env") from None
        return self._connection

    def _prepared(self, connection: sa.Connection) -> sa.Connection:
        if self.dialect in _REPEATABLE:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        if self.dialect == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)
            connection.execute(sa.select(sa.func.set_config("TimeZone", self.zone, False)))
            connection.execute(sa.select(sa.func.set_config("DateStyle", "ISO", False)))
            connection.execute(sa.select(sa.func.set_config("client_encoding", "UTF8", False)))
        elif self.dialect in ("mysql", "mariadb"):
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            connection.execute(sa.text("SET time_zone = :zone"), {"zone": _offset(self.zone)})
        elif self.dialect == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        # SQLAlchemy begins by itself; what was set above is for the session.
        connection.commit()
        if self.is_guarded and not self._is_read_only(connection):
            connection.close()
            hint = {
                "mssql": "Add ApplicationIntent=ReadOnly to the URL and use an account that may only read",
            }.get(self.dialect, "Use an account that may only read, and set read_only_guard: false")
            raise Permanent("the session could not be made read-only", hint=hint, key="read_only_guard")
        return connection

    def _is_read_only(self, connection: sa.Connection) -> bool:
        if self.dialect == "mssql":
            said = {name.lower(): str(value).lower() for name, value in self.engine.url.query.items()}
            return said.get("applicationintent") == "readonly" or "applicationintent=readonly" in said.get(
                "odbc_connect", ""
            )
        if self.dialect == "oracle":
            return True  # every transaction begins with SET TRANSACTION READ ONLY
        with connection.begin():
            if self.dialect == "postgresql":
                return connection.execute(sa.select(sa.func.current_setting("transaction_read_only"))).scalar() == "on"
            if self.dialect == "sqlite":
                return connection.exec_driver_sql("PRAGMA query_only").scalar() == 1
            if self.dialect in ("mysql", "mariadb"):
                # MySQL 8 and older MariaDB call it differently.
                asked = "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_read_only', 'transaction_read_only')"
                return any(row[1] == "ON" for row in connection.exec_driver_sql(asked).fetchall())
        return False

    def close(self) -> None:
        """End the session, when what is under way has ended."""
        with self._turn:
            self._is_over = True
            self._give_back()

    def _give_back(self) -> None:
        """Close the connection; the next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except (sa.exc.SQLAlchemyError, OSError):
                connection.invalidate()

    def clock(self) -> datetime:
        """What time it is by the server's clock, an aware instant."""
        asked = _CLOCKS.get(self.dialect)
        if asked is None:
            return datetime.now(UTC)
        now: datetime = self.run(lambda connection: connection.execute(sa.select(asked())).scalar_one())
        return now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)

    def found(self, schema: str | None, name: str) -> Found | None:
        """A table or view, whatever the case of its name; an exact match comes first."""

        def look(connection: sa.Connection) -> Found | None:
            """The first table or view in a schema that fits; None where there is none."""
            inspector = sa.inspect(connection)
            schemas = [None] if schema is None else _matching(inspector.get_schema_names(), schema)
            for real in schemas:
                names = [*inspector.get_table_names(schema=real), *inspector.get_view_names(schema=real)]
                for table in _matching(names, name)[:1]:
                    columns = inspector.get_columns(table, schema=real)
                    return real, table, {str(column["name"]): column["type"] for column in columns}
            return None

        return self.run(look)

    def fetch(self, connection: sa.Connection, query: Query) -> Fetched:
        """The rows of a SELECT as columns of text."""
        if not isinstance(query.statement, sa.Select):
            raise TypeError("only a SELECT is ever run on somebody else's database")
        if self.copies and self.dialect == "postgresql" and self.engine.driver == "psycopg":
            return self._copied(connection, query)
        rows = connection.execute(query.statement).fetchall()
        return Fetched(len(rows), tuple(rows[-1][:2]) if rows else (), partial(_columns, rows, query, self.zone))

    def _copied(self, connection: sa.Connection, query: Query) -> Fetched:
        compiled = query.statement.compile(dialect=self.engine.dialect, compile_kwargs={"render_postcompile": True})
        raw: Any = connection.connection.driver_connection
        came = copied(raw, compiled.string, compiled.construct_params())
        ends = columns_of_csv(came.last, len(query.wanted))[:2] if came.rows else []
        last = tuple(_native(end[0].as_py(), each.element) for end, each in zip(ends, query.wanted, strict=False))
        return Fetched(came.rows, last, partial(texts_of_csv, came.data, query.wanted, self.zone))


def _columns(rows: Sequence[Any], query: Query, zone: str) -> list[pa.Array]:
    values = list(zip(*rows, strict=True)) if rows else [() for _ in query.wanted]
    return [texts_of_values(column, each, zone) for column, each in zip(values, query.wanted, strict=True)]


def _native(text: str | None, element: sa.ColumnElement[Any]) -> Any:
    """A key or instant that came as text, as the driver takes it."""
    if text is None or isinstance(element.type, sa.String):
        return text
    if isinstance(element.type, sa.Integer):
        return int(text)
    if isinstance(element.type, sa.DateTime):
        return datetime.fromisoformat(text)
    return UUID(text) if isinstance(element.type, sa.Uuid) else text


def _matching(names: Sequence[str], wanted: str) -> list[str]:
    return sorted((name for name in names if name.lower() == wanted.lower()), key=lambda name: name != wanted)


def _offset(zone: str) -> str:
    """The zone's distance from UTC today, as MySQL takes it where its zone tables are not loaded."""
    text = f"{datetime.now(ZoneInfo(zone)):%z}"
    return f"{text[:3]}:{text[3:5]}"


def _driver_errors(engine: sa.Engine) -> type[BaseException]:
    """What the driver raises past SQLAlchemy (COPY)."""
    error: type[BaseException] = engine.dialect.loaded_dbapi.Error
    return error


def _failure(error: sa.exc.DBAPIError) -> SourceError:
    """The failure of a statement, without the server's words: they may quote what was being read."""
    code = getattr(error.orig, "sqlstate", None) or next(iter(getattr(error.orig, "args", ())), "")
    told = f"{type(error.orig).__name__} {code if re.fullmatch(r'[0-9A-Z]{4,5}', str(code)) else ''}".strip()
    # Classes of SQLSTATE: connection, rollback, resources, in use, operator, system. Without one the class must do.
    if re.fullmatch(r"[0-9A-Z]{5}", str(code)):
        is_passing = str(code)[:2] in ("08", "40", "53", "55", "57", "58", "HY")
    else:
        is_passing = "Operational" in type(error.orig).__name__ or isinstance(error, sa.exc.OperationalError)
    if is_passing or error.connection_invalidated:
        return Transient(f"the database broke off a reading ({told})", key="url_env")
    hint = "Look up the code in the product's documentation; the statement is a SELECT of the profile's columns"
    return Permanent(f"the database refused a reading ({told})", hint=hint, key="profile")
