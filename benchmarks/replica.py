"""Streaming a database replica into Arrow, against COPY piped to pyarrow and ConnectorX, over the same query.

Belongs here: making the table, and the three ways of reading it, each a process of its own. thuocdo: the
product's reading of the shipped TD profile's dossiers, chunk by chunk by keyset, every value as the text that
the record contract wants, without the lake. copy: `psql` writes the whole query as CSV into a pipe that
pyarrow's CSV reader reads, types inferred. connectorx: the whole query to an Arrow table. Both peers do less:
one statement, no contract, and everything in memory at once. They are asked in the order that a reading which
can be killed needs, (modified, key), and once more in none, which is cheaper for the server.

`python -m benchmarks.replica [ROWS] [SMALL LARGE]` prints the table; the server is the one that
THUOCDO_BENCH_POSTGRES_URL names.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
import yaml
from rich.console import Console

from benchmarks.processes import Measured, best_of, run_apart, stopwatch
from connectors.database import DatabaseSettings, connect
from connectors.database_plan import Plan
from connectors.database_profile import DatabaseProfile
from connectors.database_session import Session, engine_of
from connectors.protocol import Span

MODULE = "benchmarks.replica"
VARIABLE = "THUOCDO_BENCH_POSTGRES_URL"
URL = os.environ.get(VARIABLE, "postgresql+psycopg://postgres@127.0.0.1:5432/test")
SPAN = Span(datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), is_update=False)
_PROFILE = Path(__file__).parent.parent / "connectors/profiles/td-database.yaml"
out = Console(highlight=False)

#: Dossiers of an invented province; the columns of persons are filled too, nobody may ask for them.
_FILL = """
INSERT INTO {schema}."HoSos" SELECT
    md5(n::text)::uuid, 'H15.10-' || to_char(d, 'YYMMDD') || '-' || lpad(n::text, 7, '0'), NULL,
    'DV' || (n * 7919 % 400), '1.00' || (1000 + n * 31 % 900), (1 + n % 3)::text, (1 + n % 10)::text, '4',
    '0', '0', '1', 'Người hư cấu ' || n, '000000000000', '0000000000', 'x@example.invalid', 'Đắk Lắk',
    'Hồ sơ hư cấu số ' || n, CASE WHEN n % 3 = 0 THEN '/ket-qua/' || n || '.pdf##' END, NULL,
    d, d + interval '2 hours', d + interval '10 days', CASE WHEN n % 5 > 0 THEN d + interval '8 days 13 min' END,
    CASE WHEN n % 5 > 1 THEN d + interval '9 days 1 sec' END, NULL,
    d, d + interval '9 days' + (n % 997)::int * interval '1 ms', NULL
FROM (SELECT n, timestamp '2024-01-01 07:30'
          + (n % 900)::int * interval '1 day' + (n % 30000)::int * interval '1 sec' AS d
      FROM generate_series(1::bigint, {rows}) AS n) AS made
"""


def make(schema: str, rows: int) -> None:
    """The tables, filled by the server itself."""
    from sandbox.replica import TD, TD_GROUPS  # noqa: PLC0415  only the making needs the sandbox

    engine = engine_of(URL)
    with engine.execution_options(schema_translate_map={"Business": schema, "Catalog": schema}).begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
        TD.create_all(connection)
        units = [
            {"Id": uuid4(), "GroupCode": f"DV{n}", "GroupName": f"Đơn vị {n}", "MaDinhDanh": f"H15.{n}"}
            for n in range(400)
        ]
        connection.execute(TD_GROUPS.insert(), units)
        connection.exec_driver_sql(_FILL.format(schema=schema, rows=rows).replace("%", "%%"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f'VACUUM ANALYZE {schema}."HoSos"')


def drop(schema: str) -> None:
    """Take the tables away."""
    with engine_of(URL).begin() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))


def _settings(schema: str, work: Path, *, chunk_rows: int = 20_000) -> DatabaseSettings:
    profile = yaml.safe_load(_PROFILE.read_text(encoding="utf-8"))
    del profile["lists"]
    file = work / "td-dossiers.yaml"
    file.write_text(yaml.safe_dump(profile, allow_unicode=True), encoding="utf-8")
    os.environ[VARIABLE] = URL
    said = {"kind": "database", "role": "onestop", "profile": str(file), "url_env": VARIABLE, "schema": schema}
    return DatabaseSettings.model_validate(said | {"chunk_rows": chunk_rows, "full_comparison_days": 0})


def query(schema: str, work: Path, *, is_ordered: bool) -> str:
    """The SELECT of the dossiers as the product asks for them, without its limit, in its order or in none."""
    settings = _settings(schema, work)
    profile = settings.loaded()
    if not isinstance(profile, DatabaseProfile):
        raise TypeError(profile)
    session = Session(engine_of(URL), profile.zone)
    plan = Plan(profile, session.found, dialect=session.dialect, schema=schema)
    statement = plan.records(sa.true(), limit=None).statement
    statement = statement if is_ordered else statement.order_by(None)
    text = str(statement.compile(dialect=session.engine.dialect, compile_kwargs={"literal_binds": True}))
    session.close()
    return text.replace("%%", "%")


def thuocdo(schema: str, work: Path, chunk_rows: int) -> None:
    """The product's reading."""

    async def read() -> int:
        """Rows of every batch."""
        rows = 0
        async with connect(_settings(schema, work, chunk_rows=chunk_rows), name="bench") as replica:
            async for batch in replica.batches(SPAN):
                rows += sum(part.records.num_rows for part in batch.parts)
        return rows

    with stopwatch() as facts:
        facts["rows"] = asyncio.run(read())


def copy(statement: str) -> None:
    """COPY of the whole query, piped to pyarrow's CSV reader."""
    import pyarrow.csv as pa_csv  # noqa: PLC0415

    plain = URL.replace("+psycopg", "")
    with stopwatch() as facts:
        command = ["psql", plain, "-qc", f"COPY ({statement}) TO STDOUT (FORMAT csv)"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            options = pa_csv.ReadOptions(autogenerate_column_names=True, block_size=4 << 20)
            parse = pa_csv.ParseOptions(newlines_in_values=True)
            facts["rows"] = pa_csv.read_csv(process.stdout, read_options=options, parse_options=parse).num_rows


def connectorx(statement: str) -> None:
    """ConnectorX, the whole query to Arrow."""
    # Installed for the benchmark alone.
    reader = import_module("connectorx")
    with stopwatch() as facts:
        facts["rows"] = reader.read_sql(URL.replace("+psycopg", ""), statement, return_type="arrow").num_rows


def compare(rows: int, work: Path, *, rounds: int = 3) -> dict[str, Measured]:
    """The product and its peers side by side over so many rows."""
    with _table(rows) as schema:
        ordered, plain = (query(schema, work, is_ordered=is_ordered) for is_ordered in (True, False))
        peers: dict[str, Any] = {
            "thuocdo": (MODULE, ["thuocdo", schema, str(work), "20000"]),
            "COPY to pyarrow": (MODULE, ["copy", ordered]),
            "ConnectorX": (MODULE, ["connectorx", ordered]),
            "COPY to pyarrow, in no order": (MODULE, ["copy", plain]),
            "ConnectorX, in no order": (MODULE, ["connectorx", plain]),
        }
        return best_of(rounds, peers)


@contextmanager
def _table(rows: int) -> Iterator[str]:
    """A schema with the table, while it is needed."""
    schema = f"thuocdo_bench_{os.getpid()}"
    make(schema, rows)
    try:
        yield schema
    finally:
        drop(schema)


def show(rows: int, sizes: tuple[int, ...]) -> None:
    """Measure and print: side by side over `rows`, then the product's memory at `sizes`."""
    with tempfile.TemporaryDirectory(prefix="thuocdo-bench-") as folder:
        for name, run in compare(rows, Path(folder)).items():
            out.print(f"{name:30} {run.seconds:6.2f} s {run.peak_mib:6.0f} MiB  {run.facts}")
        for size in sizes:
            with _table(size) as schema:
                run = run_apart(MODULE, ["thuocdo", schema, folder, "20000"])
                out.print(f"thuocdo {size:>9,} {run.seconds:6.2f} s {run.peak_mib:6.0f} MiB  {run.facts}")


def main(arguments: list[str]) -> None:
    """`[ROWS] [SMALL LARGE]`, or one of the measured runs."""
    match arguments:
        case ["thuocdo", schema, work, chunk_rows]:
            thuocdo(schema, Path(work), int(chunk_rows))
        case ["copy", statement]:
            copy(statement)
        case ["connectorx", statement]:
            connectorx(statement)
        case _:
            numbers = [int(argument) for argument in arguments] or [500_000, 100_000, 2_000_000]
            show(numbers[0], tuple(numbers[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])
