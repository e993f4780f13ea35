"""Every statement, as SQL Server and Oracle would get it: their drivers are not shipped, their SQL is checked.

Why this level: no such server is at hand. The products' own rules are asserted on what SQLAlchemy compiles
for them: row limits, quoting, no boolean literals, no comparison of tuples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql

from connectors.database import DatabaseSettings
from connectors.database_plan import Found, Plan, Position
from connectors.database_profile import DatabaseProfile
from connectors.protocol import Permanent
from sandbox.replica import OPENCPS, TD

DIALECTS: dict[str, Any] = {
    each.name: each
    for each in (sa.engine.url.URL.create(name).get_dialect()() for name in ("mssql", "oracle", "postgresql", "mysql"))
}
MOMENT = datetime(2026, 10, 31, 2)  # noqa: DTZ001  columns without a zone
KEY = {"td": "5f0c9b1e-0000-4000-8000-000000000001", "opencps": 7}


def _catalogue(metadata: sa.MetaData, dialect: str) -> Any:
    """Tables as declared; SQL Server's own types where it has others than the standard."""

    def found(schema: str | None, name: str) -> Found | None:
        for table in metadata.tables.values():
            if table.name.lower() == name.lower():
                return schema, table.name, {c.name: _typed(c.type, dialect) for c in table.columns}
        return None

    return found


def _typed(kind: sa.types.TypeEngine[Any], dialect: str) -> sa.types.TypeEngine[Any]:
    if dialect != "mssql":
        return kind
    if isinstance(kind, sa.Boolean):
        return mssql.BIT()
    return mssql.DATETIME() if isinstance(kind, sa.DateTime) else kind


def _plan(vendor: str, dialect: str) -> Plan:
    settings = DatabaseSettings.model_validate(
        {"kind": "database", "role": "portal", "profile": f"{vendor}-database", "url_env": "X"}
    )
    profile = settings.loaded()
    assert isinstance(profile, DatabaseProfile)
    metadata = {"td": TD, "opencps": OPENCPS}[vendor]
    return Plan(profile, _catalogue(metadata, dialect), dialect=dialect)


def _statements(vendor: str, dialect: str) -> Iterator[str]:
    """Every statement that a night can make, compiled, its values left out."""
    plan, key = _plan(vendor, dialect), KEY[vendor]
    last = Position(MOMENT, key)
    chunks = [
        plan.dated(MOMENT, after=None),
        plan.dated(MOMENT, after=last, stop=MOMENT),
        plan.undated(None),
        plan.undated(Position(None, key)),
        plan.named(plan.key, [key, key]),
    ]
    asked: list[Any] = []
    for which in chunks:
        asked += [plan.records(which, limit=100), plan.records(which, limit=100, by_key=True)]
        asked += [plan.children(rest, plan.upto(which, last)) for rest in plan.rests]
        asked += [plan.children(rest, plan.upto(which, Position(None, key))) for rest in plan.rests]
    asked += [plan.keys(after=None, limit=100), plan.keys(after=key, limit=100)]
    statements = [query.statement for query in asked]
    for rest in plan.rests:
        if rest.child.modified:
            statements += [plan.touched(rest, MOMENT, read_from=MOMENT, after=after, limit=9) for after in (None, last)]
    for statement in statements:
        compiled = statement.compile(dialect=DIALECTS[dialect], compile_kwargs={"render_postcompile": True})
        yield re.sub(r"\s+", " ", str(compiled))


@pytest.mark.parametrize("vendor", ["td", "opencps"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_statement_is_a_select_of_named_columns_without_offset(vendor: str, dialect: str) -> None:
    for text in _statements(vendor, dialect):
        assert text.startswith("SELECT ")
        assert "*" not in text
        assert not re.search(r"\b(INSERT|UPDATE|DELETE|INTO|FOR UPDATE)\b", text)
        assert "OFFSET" not in text


@pytest.mark.parametrize("vendor", ["td", "opencps"])
@pytest.mark.parametrize("dialect", ["mssql", "oracle"])
def test_no_boolean_literal_and_no_tuple_is_compared(vendor: str, dialect: str) -> None:
    tuples = r"\([^()]*,[^()]*\)\s*(<|>|=)"
    for text in _statements(vendor, dialect):
        assert not re.search(r"\b(true|false)\b", text, re.IGNORECASE)
        assert not re.search(tuples, text)


@pytest.mark.parametrize("vendor", ["td", "opencps"])
def test_rows_are_limited_as_each_product_can(vendor: str) -> None:
    limits = {
        "mssql": r"^SELECT TOP",
        "oracle": r"FETCH FIRST .+ ROWS ONLY$",
        "mysql": r" LIMIT ",
        "postgresql": r" LIMIT ",
    }
    for dialect, pattern in limits.items():
        ordered = [text for text in _statements(vendor, dialect) if "ORDER BY" in text]
        limited = [text for text in ordered if re.search(pattern, text)]
        # All but child rows and dossiers named one by one are limited.
        assert len(limited) >= 12, dialect


@pytest.mark.parametrize(("dialect", "quoted"), [("mssql", "[Business].[HoSos]"), ("oracle", '"Business"."HoSos"')])
def test_names_are_quoted_as_each_product_does(dialect: str, quoted: str) -> None:
    assert any(quoted in text for text in _statements("td", dialect))


def test_the_keyset_is_written_out_with_the_column_first() -> None:
    plan = _plan("opencps", "mysql")
    text = str(plan.dated(MOMENT, after=Position(MOMENT, 7)).compile(dialect=DIALECTS["mysql"]))
    modified, key = "opencps_dossier.`modifiedDate`", "opencps_dossier.`dossierId`"
    assert text == f"{modified} >= %s AND ({modified} > %s OR {key} > %s)"


def test_sql_server_compares_its_own_rounding_of_an_instant() -> None:
    """`datetime` counts in 1/300 s: compared with a driver's milliseconds, a row would follow itself for ever."""
    plan = _plan("opencps", "mssql")
    text = str(plan.dated(MOMENT, after=Position(MOMENT, 7)).compile(dialect=DIALECTS["mssql"]))
    assert text.count("AS DATETIME)") == 2


@pytest.mark.parametrize("vendor", ["td", "opencps"])
def test_no_column_of_a_person_is_asked_for(vendor: str) -> None:
    persons = {
        "td": ["ChuHoSo", "SoGiayToChuHoSo", "SoDienThoaiChuHoSo", "EmailChuHoSo", "TrichYeuHoSo", "NguoiNopTien"],
        "opencps": ["applicant", "contact", "address", "displayName", "formData", "accountUserName"],
    }
    for text in _statements(vendor, "mssql"):
        assert not [name for name in persons[vendor] if name in text]


def test_binary_content_is_never_read() -> None:
    profile = DatabaseProfile.model_validate(
        {"system": "x", "dates": ["%Y"], "table": "t", "key": "Id", "fields": {"status": "Scan"}}
    )
    columns: Mapping[str, sa.types.TypeEngine[Any]] = {"Id": sa.Integer(), "Scan": sa.LargeBinary()}
    with pytest.raises(Permanent, match=r"fields\.status: column 'Scan' holds binary content"):
        Plan(profile, lambda schema, name: (schema, name, columns), dialect="mssql")
