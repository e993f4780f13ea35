"""Conform: from what the sources said to one row per dossier.

Belongs here: the order of the steps, what is touched tonight, and which months are rewritten. The
rules themselves are in `sql/` and `precedence.py`. Does not belong here: extraction, indicators.

Only dossiers that a new record version can have changed are worked on: the records stored since the
last night, whatever shares an identifier with them, and whatever shared a dossier with them before.
When the tables of meanings change (codes, agencies, catalogue), everything is worked on again, which
is also how quarantined records come back. Months whose rows come out equal are not rewritten, so a
night that changed nothing writes nothing. Killed anywhere, the next night does it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from importlib import resources
from pathlib import Path

import duckdb

from assets.dossiers.meanings import MeaningError, load_agencies, load_codes
from assets.dossiers.precedence import facts_sql
from assets.dossiers.profiled import Profiled
from assets.raw.tables import RAW_MESSAGES, RAW_ONESTOP, RAW_PORTAL, RAW_PROGRESS, payments_table, profiled_table
from warehouse.calendar import RECEPTION_SECONDS, OfficeHours, define_macros
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.schema import Table
from warehouse.tables import (
    CORE_CALENDAR,
    CORE_CLAIM,
    CORE_COMPONENT,
    CORE_CROSSWALK,
    CORE_DOSSIER,
    CORE_PAYMENT,
    CORE_PROCEDURE,
    CORE_STEP,
    CORE_SUCCESSION,
    CORE_SUPPLEMENT,
    CORE_UNIT,
    RAW_QUARANTINE,
)

#: Raw tables by the name their source has in `core_crosswalk`.
RAW_BY_SOURCE: Mapping[str, Table] = {
    "portal": RAW_PORTAL,
    "onestop": RAW_ONESTOP,
    "messages": RAW_MESSAGES,
    "progress": RAW_PROGRESS,
}
_MATCHED = ("portal", "onestop", "messages")
#: The tables that conforming writes, in the order in which it writes them.
CONFORMED = (CORE_CROSSWALK, CORE_DOSSIER, CORE_COMPONENT, CORE_PAYMENT, CORE_STEP, CORE_SUPPLEMENT, CORE_CLAIM)
#: What conforming needs to be there: units and their successors, procedures, working days.
REFERENCE = (CORE_UNIT, CORE_SUCCESSION, CORE_PROCEDURE, CORE_CALENDAR)
_CURSOR = ("conform", "raw")


@dataclass(frozen=True, kw_only=True)
class ConformCount:
    """What came of one source's touched records: read = stored + unchanged + quarantined.

    stored: the record's dossier came out different from what the core held; unchanged: it came out
    equal; quarantined: a code of the record has no meaning yet, so it took no part.
    """

    source: str
    rows_read: int
    rows_stored: int
    rows_unchanged: int
    rows_quarantined: int


@dataclass(frozen=True, kw_only=True)
class ConformResult:
    """What a night's conforming did; `months` are the storage months of core_dossier rewritten.

    `new_codes` are sentences for the operator: codes without a meaning that no record carried before tonight.
    """

    counts: tuple[ConformCount, ...]
    dossiers: int
    changed: int
    months: tuple[str, ...]
    data_version: str
    new_codes: tuple[str, ...]


def conform(
    lake: Lake,
    database: Database,
    *,
    agencies: Path,
    codes: Path,
    night: str,
    zones: Mapping[str, str] | None = None,
    profiled: Sequence[Profiled] = (),
    office_hours: OfficeHours | None = None,
    cut_off: time | None = None,
) -> ConformResult:
    """Bring the core tables up to date with the raw ones; needs the tables of `REFERENCE`.

    `zones` names the time zone that each source writes local times in (Asia/Ho_Chi_Minh unless said);
    `profiled` are the systems connected by a profile; `office_hours` and `cut_off` are those that
    core_calendar was made for. Raises what reading the two CSV files raises, naming file and line.
    """
    for table in CONFORMED:
        lake.renew(table, note={"night": night})
    raw = {**RAW_BY_SOURCE, **{each.name: each.table for each in profiled}}
    shapes = (profiled_table(), payments_table())
    connection = lake.connect(*raw.values(), *shapes, *CONFORMED, *REFERENCE, RAW_QUARANTINE)
    arithmetic = resources.files("warehouse").joinpath("calendar.sql").read_text(encoding="utf-8")
    working = f"{office_hours or OfficeHours()} {cut_off} {arithmetic}"
    meanings = _load_meanings(connection, agencies=agencies, codes=codes, lake=lake, working=working, profiled=profiled)
    seen = database.cursor(*_CURSOR)
    position = dict(seen.position) if seen else {}
    since = position if position.get("meanings") == meanings else None
    _prepare(lake, connection, profiled, since=since)
    _claims(connection, zones or {}, profiled)
    _match(connection)
    _run(connection, "transactions")
    _run(connection, "merged", {"zone_messages": _zone(zones, "messages")}, facts=facts_sql())
    _run(connection, "timed")
    define_macros(connection, office_hours=office_hours or OfficeHours(), cut_off=cut_off)
    _run(connection, "deadlines", {"reception_seconds": str(RECEPTION_SECONDS)})
    _run(connection, "dossier")
    _settle(lake, connection, is_everything=since is None)
    months = [_rewrite(lake, connection, table, night=night) for table in CONFORMED][1]
    new_codes = _quarantine(lake, connection, night=night)
    result = ConformResult(
        counts=tuple(_count(connection, name) for name in raw),
        dossiers=_number(lake.connect(CORE_DOSSIER), "SELECT count(*) FROM core_dossier"),
        changed=_number(connection, "SELECT count(*) FROM changed_dossier"),
        months=months,
        data_version=lake.fingerprint(CORE_DOSSIER),
        new_codes=new_codes,
    )
    database.move_cursor(
        *_CURSOR, _watermarks(connection, raw) | {"meanings": meanings}, lake_version=lake.version(CORE_DOSSIER)
    )
    return result


def _zone(zones: Mapping[str, str] | None, source: str) -> str:
    return (zones or {}).get(source, "Asia/Ho_Chi_Minh")


def _sql(name: str) -> str:
    return resources.files("assets.dossiers").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")


def _run(
    connection: duckdb.DuckDBPyConnection, name: str, parameters: Mapping[str, str] | None = None, **parts: str
) -> None:
    """Run one SQL file; `parts` are pieces of SQL written by us, `parameters` are values."""
    text = _sql(name)
    for part, piece in parts.items():
        text = text.replace("{" + part + "}", piece)
    for statement in connection.extract_statements(text):
        wanted = {key: value for key, value in (parameters or {}).items() if key in statement.named_parameters}
        connection.execute(statement, wanted)


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])


def _load_meanings(
    connection: duckdb.DuckDBPyConnection,
    *,
    agencies: Path,
    codes: Path,
    lake: Lake,
    working: str,
    profiled: Sequence[Profiled],
) -> str:
    """Register code_map and agency_map; return a hash of everything that gives codes a meaning."""
    _run(connection, "macros")
    connection.register("agencies_said", load_agencies(agencies))
    connection.execute(
        "CREATE TEMP TABLE agency_map AS SELECT source, agency_key(agency) AS agency, unit_code FROM agencies_said"
    )
    for each in profiled:
        connection.execute(
            "INSERT INTO agency_map SELECT $role, agency_key($name || ':' || agency), unit_code FROM agencies_said "
            "WHERE source = $name",
            {"role": each.role, "name": each.name},
        )
    _refuse_unknown_units(connection, agencies)
    connection.register("codes_said", load_codes(codes))
    connection.execute("CREATE TEMP TABLE code_map AS SELECT source, kind, code, value FROM codes_said")
    for each in profiled:
        each.register_codes(connection)
    # With other columns (a newer version of the program) everything is conformed again from the raw tables.
    columns = [",".join((table.name, *table.column_names)).encode() for table in CONFORMED]
    parts = [
        agencies.read_bytes(),
        codes.read_bytes(),
        *columns,
        *(_sql(name).encode() for name in _SQL_FILES),
        working.encode(),
        *(each.fingerprint().encode() for each in profiled),
    ]
    reference = [lake.fingerprint(table).encode() for table in REFERENCE]
    return hashlib.sha256(b"\0".join([*parts, *reference, facts_sql().encode()])).hexdigest()


def _refuse_unknown_units(connection: duckdb.DuckDBPyConnection, agencies: Path) -> None:
    unknown = connection.execute(
        "SELECT agency, unit_code FROM agencies_said "
        "WHERE unit_code NOT IN (SELECT unit_code FROM core_unit) ORDER BY 1 LIMIT 5"
    ).fetchall()
    if unknown:
        listed = "; ".join(f"{agency} → {unit}" for agency, unit in unknown)
        raise MeaningError(f"{agencies}: unit_code is not a unit of the province (first ones: {listed})")


#: Every query that decides what a core row says; when one of them changes, everything is conformed again.
_SQL_FILES = (
    "macros",
    "identifiers",
    "claims_portal",
    "claims_onestop",
    "claims_messages",
    "claims_profiled",
    "claims_payments",
    "coded",
    "membership",
    "transactions",
    "merged",
    "timed",
    "deadlines",
    "dossier",
    "settled",
)


def _prepare(
    lake: Lake, connection: duckdb.DuckDBPyConnection, profiled: Sequence[Profiled], *, since: Mapping[str, str] | None
) -> None:
    """Find tonight's records: what is touched, what that reaches, and the newest versions of it.

    `since` are the instants up to which each source was conformed, None for everything anew. `latest_*` holds the
    newest version of every record that was reached, `newest_*` those that are still there, `reached_dossier` the keys
    of dossiers that the reached records belong to or may have belonged to. Steps are reached by the codes of `asked`,
    and so are all of theirs.
    """
    systems = [(source, source, table) for source, table in RAW_BY_SOURCE.items()]
    systems += [(each.name, each.role, each.table) for each in profiled]
    parts = " UNION ALL ".join(
        f"SELECT DISTINCT '{name}' AS system, '{source}' AS source, record_key FROM {table.name} "
        f"WHERE extracted_at > TIMESTAMPTZ '{(since or {}).get(name, '1900-01-01T00:00:00+00:00')}'"
        for name, source, table in systems
    )
    connection.execute(f"CREATE TEMP TABLE touched AS {parts}")
    connection.execute(
        "CREATE TEMP TABLE reach AS SELECT DISTINCT source, record_key FROM touched WHERE source <> 'progress'"
    )
    if since is None:
        connection.execute(_EVERY_DOSSIER)
    else:
        _reach(connection, profiled)
    for name, source, table in systems:
        place = name if table in RAW_BY_SOURCE.values() else table.name
        if since is None:
            connection.execute(f"CREATE TEMP VIEW latest_{place} AS {_latest_sql(table, table.name)}")
        else:
            # Only keys and codes are read of the whole history, everything else of the files that hold what is wanted.
            wanted = _REACHED.get(source, "record_key IN (SELECT record_key FROM reach WHERE source = '{source}')")
            holding = lake.relation_holding(table, wanted.format(source=source), connection=connection)
            reached = f"(SELECT * FROM {holding} WHERE {wanted.format(source=source)})"
            connection.execute(f"CREATE TEMP TABLE latest_{place} AS {_latest_sql(table, reached)}")
    for source in RAW_BY_SOURCE:
        connection.execute(f"CREATE TEMP VIEW newest_{source} AS SELECT * FROM latest_{source} WHERE NOT is_gone")
    dossiers = [each for each in profiled if not each.tells_payments]
    platforms = [each for each in profiled if each.tells_payments]
    connection.execute(f"CREATE TEMP VIEW newest_profiled AS {_newest_sql(dossiers, profiled_table())}")
    connection.execute(f"CREATE TEMP VIEW newest_payments AS {_newest_sql(platforms, payments_table())}")
    connection.execute(f"CREATE TEMP TABLE identifiers AS SELECT DISTINCT * FROM ({_identifiers_sql('newest')})")


_EVERY_DOSSIER = "CREATE TEMP TABLE reached_dossier AS " + " UNION ".join(
    f"SELECT dossier_key FROM {table.name}" for table in CONFORMED
)


def _identifiers_sql(which: str) -> str:
    """The identifiers in the relations `which`_portal, `which`_onestop, …"""
    return _sql("identifiers").replace("{which}", which)


def _reach(connection: duckdb.DuckDBPyConnection, profiled: Sequence[Profiled]) -> None:
    """Add to `reach` what shares an identifier or a dossier with it, until nothing comes any more.

    A record counts with the identifiers of all its versions: what it no longer carries it may have to let go of. A
    step touches its dossier: whoever carries its code is reached too. A dossier's key is an identifier of a record or
    the record's own: all of those may stand in some table, since a night that was killed stored some and not others.
    """
    connection.execute("CREATE TEMP TABLE frontier AS FROM reach")
    for which, condition in (("every", "true"), ("frontier", _AT_FRONTIER)):
        for source, table in RAW_BY_SOURCE.items():
            within = condition.format(source=source)
            connection.execute(f"CREATE TEMP VIEW {which}_{source} AS SELECT * FROM {table.name} WHERE {within}")
        for kind, shape in (("profiled", profiled_table()), ("payments", payments_table())):
            chosen = [each for each in profiled if each.tells_payments == (kind == "payments")]
            connection.execute(f"CREATE TEMP VIEW {which}_{kind} AS {_every_sql(chosen, shape, condition)}")
    connection.execute("""
        CREATE TEMP TABLE asked AS
        SELECT DISTINCT dossier_code(MaHoSo) AS identifier FROM raw_progress
        WHERE record_key IN (SELECT record_key FROM touched WHERE source = 'progress')
            AND dossier_code(MaHoSo) IS NOT NULL
    """)
    connection.execute("CREATE TEMP TABLE wanted AS FROM asked")
    connection.execute("CREATE TEMP TABLE reached_dossier (dossier_key VARCHAR)")
    while _number(connection, "SELECT (SELECT count(*) FROM frontier) + (SELECT count(*) FROM wanted)"):
        _reach_further(connection)
    connection.execute(
        "INSERT INTO reached_dossier SELECT identifier FROM asked UNION SELECT source || ':' || record_key FROM reach"
    )


_AT_FRONTIER = "record_key IN (SELECT record_key FROM frontier WHERE source = '{source}')"
#: Steps are reached by the codes that were asked for, everything else as itself.
_REACHED = {
    "progress": "record_key IN "
    "(SELECT record_key FROM raw_progress WHERE dossier_code(MaHoSo) IN (SELECT identifier FROM asked))"
}


def _reach_further(connection: duckdb.DuckDBPyConnection) -> None:
    """One round: whoever carries what the records of `frontier` carry, or shares a dossier with them."""
    carried = _identifiers_sql("frontier")
    connection.execute(f"INSERT INTO wanted SELECT identifier FROM ({carried}) EXCEPT SELECT identifier FROM asked")
    connection.execute("INSERT INTO asked SELECT identifier FROM wanted EXCEPT SELECT identifier FROM asked")
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE met AS
        SELECT dossier_key FROM core_crosswalk SEMI JOIN frontier USING (source, record_key)
        EXCEPT SELECT dossier_key FROM reached_dossier
    """)
    connection.execute("INSERT INTO reached_dossier FROM met")
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE next AS
        SELECT source, record_key FROM ({_identifiers_sql("every")}) WHERE identifier IN (SELECT identifier FROM wanted)
        UNION
        SELECT source, record_key FROM core_crosswalk WHERE dossier_key IN (SELECT dossier_key FROM met)
        EXCEPT
        SELECT source, record_key FROM reach
    """)
    connection.execute("DELETE FROM wanted")
    connection.execute("DELETE FROM frontier")
    connection.execute("INSERT INTO frontier FROM next")
    connection.execute("INSERT INTO reach FROM frontier")


def _latest_sql(table: Table, relation: str) -> str:
    """The newest version of every record in `relation`, which has the columns of `table`."""
    # A message log can bring several versions of a record in one batch; their place in it tells the order.
    order = "extracted_at DESC" + (", position DESC" if "position" in table.column_names else "")
    return (
        f"SELECT * REPLACE (coalesce(is_gone, false) AS is_gone) FROM {relation} "
        f"QUALIFY row_number() OVER (PARTITION BY record_key ORDER BY {order}) = 1"
    )


def _every_sql(profiled: Sequence[Profiled], shape: Table, condition: str) -> str:
    """Every version of the records of profiled systems for which `condition` holds, with the system's role."""
    columns = ", ".join(f'"{name}"' for name in shape.column_names)
    nothing = f"SELECT '' AS source, {columns} FROM {shape.name} WHERE false"
    parts = (
        f"SELECT '{each.role}', {columns} FROM {each.table.name} WHERE {condition.format(source=each.role)}"
        for each in profiled
    )
    return " UNION ALL ".join((nothing, *parts))


def _newest_sql(profiled: Sequence[Profiled], shape: Table) -> str:
    """Newest records of profiled systems that are still there, with the system's name and role."""
    columns = ", ".join(f'"{name}"' for name in shape.column_names)
    nothing = f"SELECT '' AS system, '' AS source, {columns} FROM {shape.name} WHERE false"
    parts = (
        f"SELECT '{each.name}', '{each.role}', {columns} FROM latest_{each.table.name} "
        "WHERE NOT is_gone AND coalesce(lower(trim(is_deleted)), '') IN ('', '0', 'false')"
        for each in profiled
    )
    return " UNION ALL ".join((nothing, *parts))


def _claims(connection: duckdb.DuckDBPyConnection, zones: Mapping[str, str], profiled: Sequence[Profiled]) -> None:
    parameters = {f"zone_{source}": _zone(zones, source) for source in _MATCHED}
    for source in _MATCHED:
        connection.execute(
            f"CREATE TEMP TABLE current_{source} AS SELECT * FROM newest_{source} "
            f"SEMI JOIN reach ON reach.source = '{source}' AND reach.record_key = newest_{source}.record_key"
        )
        _run(connection, f"claims_{source}", parameters)
    connection.execute("CREATE TEMP TABLE claims_profiled AS SELECT * FROM claims_messages WHERE false")
    connection.execute(
        "CREATE TEMP TABLE current_profiled AS SELECT * FROM newest_profiled SEMI JOIN reach USING (source, record_key)"
    )
    connection.execute(
        "CREATE TEMP TABLE current_payments AS SELECT * FROM newest_payments SEMI JOIN reach USING (source, record_key)"
    )
    connection.execute(_CLAIMS_PAYMENTS)
    for each in profiled:
        connection.execute(each.claims_sql(_sql("claims_payments" if each.tells_payments else "claims_profiled")))
    _run(connection, "coded")


_CLAIMS_PAYMENTS = """
    CREATE TEMP TABLE claims_payments (
        record_key VARCHAR, reference VARCHAR, code VARCHAR, modified_at TIMESTAMPTZ, amount_vnd BIGINT,
        method VARCHAR, state VARCHAR, is_settled BOOLEAN, paid_at TIMESTAMPTZ
    )
"""


def _match(connection: duckdb.DuckDBPyConnection) -> None:
    """Join records that share an identifier, directly or through others, into one dossier.

    Labels spread along shared identifiers until nothing changes; a dossier has a handful of records,
    so two or three rounds are enough. The dossier's key is its public code, from the source that is
    believed first, or the record itself while there is none (a draft).
    """
    connection.execute("""
        CREATE TEMP TABLE edge AS
        SELECT i.source, i.record_key, i.rule, i.identifier
        FROM identifiers AS i SEMI JOIN claims USING (source, record_key)
    """)
    connection.execute("""
        CREATE TEMP TABLE label AS
        SELECT c.source, c.record_key, coalesce(min(e.identifier), c.source || ':' || c.record_key) AS label
        FROM claims AS c LEFT JOIN edge AS e USING (source, record_key) GROUP BY 1, 2
    """)
    while _spread_labels(connection):
        pass
    _run(connection, "membership")


def _spread_labels(connection: duckdb.DuckDBPyConnection) -> bool:
    """One round: each record takes the least label among records it shares an identifier with."""
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE spread AS
        WITH least AS (
            SELECT e.identifier, min(l.label) AS label
            FROM edge AS e JOIN label AS l USING (source, record_key) GROUP BY 1
        )
        SELECT e.source, e.record_key, min(least.label) AS label
        FROM edge AS e JOIN least USING (identifier) GROUP BY 1, 2
    """)
    changed = _number(
        connection, "SELECT count(*) FROM spread JOIN label USING (source, record_key) WHERE spread.label < label.label"
    )
    if changed:
        connection.execute(
            "UPDATE label SET label = spread.label FROM spread "
            "WHERE spread.source = label.source AND spread.record_key = label.record_key"
        )
    return changed > 0


def _settle(lake: Lake, connection: duckdb.DuckDBPyConnection, *, is_everything: bool) -> None:
    """Bring the new rows into the declared columns and find the dossiers that came out different.

    What a table holds of them is looked for by key in all of it: no other table says in which month it lies, since a
    night may have been killed between two tables.
    """
    _run(connection, "settled")
    is_touched = "dossier_key IN (SELECT dossier_key FROM touched_dossier)"
    for table in CONFORMED:
        columns = ", ".join(f'"{name}"' for name in table.column_names)
        held = table.name if is_everything else lake.relation_holding(table, is_touched, connection=connection)
        connection.execute(f"CREATE TEMP TABLE held_{table.name} AS SELECT {columns} FROM {held} WHERE {is_touched}")
        connection.execute(
            f"CREATE TEMP TABLE difference_{table.name} AS "
            f"(SELECT {columns} FROM fresh_{table.name} EXCEPT ALL SELECT {columns} FROM held_{table.name}) UNION ALL "
            f"(SELECT {columns} FROM held_{table.name} EXCEPT ALL SELECT {columns} FROM fresh_{table.name})"
        )
    # A claim also says when it was stored; that alone does not make its dossier another one.
    facts = [table for table in CONFORMED if table is not CORE_CLAIM]
    changed = " UNION ".join(f"SELECT dossier_key FROM difference_{table.name}" for table in facts)
    connection.execute(f"CREATE TEMP TABLE changed_dossier AS {changed}")


def _rewrite(lake: Lake, connection: duckdb.DuckDBPyConnection, table: Table, *, night: str) -> tuple[str, ...]:
    """Rewrite the storage months in which `table` differs, in one commit; return them."""
    query = f"SELECT DISTINCT lake_month FROM difference_{table.name} ORDER BY 1"
    months = tuple(str(row[0]) for row in connection.execute(query).fetchall())
    if not months:
        return months
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rewritten_month AS SELECT unnest($months) AS lake_month", {"months": list(months)}
    )
    rows = connection.sql(
        f"SELECT {columns} FROM {lake.relation_sql(table, partitions=months)} AS kept "
        "WHERE kept.dossier_key NOT IN (SELECT dossier_key FROM touched_dossier) "
        f"UNION ALL SELECT {columns} FROM fresh_{table.name} SEMI JOIN rewritten_month USING (lake_month)"
    ).to_arrow_table()
    lake.replace_partitions(table, rows, months, note={"night": night})
    return months


def _quarantine(lake: Lake, connection: duckdb.DuckDBPyConnection, *, night: str) -> tuple[str, ...]:
    """Replace the conform stage's quarantine: what still has no meaning, and nothing else.

    Returns what is told of codes that no record carried before: each once, whatever the number of records.
    """
    columns = ", ".join(f'"{name}"' for name in RAW_QUARANTINE.column_names)
    _run(connection, "quarantine", {"now": datetime.now(UTC).isoformat()}, columns=columns)
    told = connection.execute(_NEW_CODES).fetchall()
    rows = connection.sql(f"SELECT {columns} FROM quarantine_now").to_arrow_table()
    lake.replace_if_different(RAW_QUARANTINE, rows, note={"night": night})
    return tuple(f"{detail} ({count} bản ghi chờ)" for detail, count in told)


#: A step or a payment that waits for its dossier carries no new code.
_NEW_CODES = """
    SELECT n.detail, count(*) FROM quarantine_now AS n
    WHERE n.stage = 'conform' AND n.reason NOT IN ('progress_before_dossier', 'payment_before_dossier') AND NOT EXISTS (
        SELECT 1 FROM raw_quarantine AS q
        WHERE q.stage = 'conform' AND q.source = n.source AND q.reason = n.reason AND q.excerpt = n.excerpt
    )
    GROUP BY n.source, n.reason, n.detail ORDER BY n.source, n.reason, n.detail
"""


def _count(connection: duckdb.DuckDBPyConnection, system: str) -> ConformCount:
    read = _number(connection, f"SELECT count(*) FROM touched WHERE system = '{system}'")
    held_back = _number(
        connection,
        f"SELECT count(*) FROM touched AS t WHERE system = '{system}' AND EXISTS "
        "(SELECT 1 FROM problems AS p WHERE p.source = t.source AND p.record_key = t.record_key)",
    )
    stored = _number(connection, _STORED_STEPS if system == "progress" else _STORED.format(system=system))
    return ConformCount(
        source=system,
        rows_read=read,
        rows_stored=stored,
        rows_unchanged=read - held_back - stored,
        rows_quarantined=held_back,
    )


_STORED = (
    "SELECT count(*) FROM touched SEMI JOIN (SELECT source, record_key FROM "
    # A record that is gone has left its dossier: it counts where it stood.
    "(SELECT source, record_key, dossier_key FROM membership UNION ALL "
    "SELECT source, record_key, dossier_key FROM held_core_crosswalk) SEMI JOIN changed_dossier "
    "USING (dossier_key)) AS m USING (source, record_key) WHERE system = '{system}'"
)
_STORED_STEPS = """
    SELECT count(*) FROM touched JOIN newest_progress AS n ON touched.source = 'progress'
        AND touched.record_key = n.record_key
    WHERE EXISTS (
        SELECT 1 FROM identifiers AS i JOIN membership AS m USING (source, record_key) SEMI JOIN changed_dossier
        USING (dossier_key) WHERE i.identifier = dossier_code(n.MaHoSo)
    ) AND NOT EXISTS (SELECT 1 FROM problems AS p WHERE p.source = 'progress' AND p.record_key = n.record_key)
"""


def _watermarks(connection: duckdb.DuckDBPyConnection, raw: Mapping[str, Table]) -> dict[str, str]:
    """Newest storing instant seen per source: what came after it is touched next time."""
    marks = {}
    for source, table in raw.items():
        newest = connection.execute(f"SELECT max(extracted_at) FROM {table.name}").fetchall()[0][0]
        if newest is not None:
            marks[source] = newest.isoformat()
    return marks
