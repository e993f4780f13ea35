"""Rates that count procedures, not dossiers: definitions as data, one scan of the dossiers for all of them.

Belongs here: the shape and checks of such a definition (`procedure_definitions/*.yaml`), which procedures
belong to whom, and the counts. Does not belong here: rates of dossiers (`evaluate.py`), nor how the
catalogue comes in (`connectors/catalogue.py`, `warehouse/reference.py`).

A procedure counts once, however many units carry it out and however many dossiers it had. Such counts do
not add up: two communes with the same procedure have one procedure together, two months with it have one
month-pair's procedure. Every subject (a unit, a level, the province) and every period (month, quarter,
half, year) is therefore counted anew from what lies below, never summed from other rows.

Whose a procedure is follows from its published levels ("Cấp tỉnh", "Cấp huyện", "Cấp xã"): the province's
are those of any of these levels (of district level until 2025-06-30), a commune's those of commune level, a
department's those of province level in the sectors that the province gave it. It counts as it stood on the
last day of the period (or the last day known, in a period that still runs).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
from pydantic import Field, model_validator
from sqlglot import exp

from assets.indicators.definitions import (
    DefinitionFile,
    bind,
    load_folder,
    parse_predicate,
    read_definition_file,
)
from warehouse.lake import Lake
from warehouse.reference import LAST_DISTRICT_DAY, tidy
from warehouse.schema import DAY, FLAG, INSTANT, TEXT
from warehouse.tables import CORE_DOSSIER, CORE_PROCEDURE, CORE_UNIT, OUT_INDICATOR

FOLDER = Path(__file__).parent / "procedure_definitions"

#: Definitions that can be counted together: bits of a whole number, the sign left out.
_MASK_BITS = 62

#: Which department has which sector.
SECTOR_COLUMNS = pa.schema([("sector", TEXT), ("unit_code", TEXT)])


class SectorError(ValueError):
    """The table of sectors cannot be used; the text names file, line and what is wrong."""


class _File(DefinitionFile):
    numerator: str | None = None
    event: str | None = None
    dossier: str | None = None
    least_known_pct: int = Field(default=100, ge=1, le=100)

    @model_validator(mode="after")
    def _one_numerator(self) -> _File:
        if (self.numerator is None) == (self.dossier is None):
            raise ValueError("needs either numerator (over procedures) or dossier (over dossiers), and not both")
        if (self.dossier is None) != (self.event is None):
            raise ValueError("event is the day of the dossier: give both or neither")
        return self


@dataclass(frozen=True, kw_only=True)
class ProcedureDefinition:
    """One version of one rate of procedures.

    The denominator counts the procedures of a subject for which `population` holds. The numerator counts
    those of them for which `numerator` holds, or, in its place, those that had a dossier of the subject
    for which `dossier` holds and whose `event` day lies in the period (and in the days for which this
    version is the rule).

    What is not known is not guessed: a procedure for which `population` or `numerator` is null is neither
    in the denominator nor in the numerator, and where the known ones are less than `least_known_pct` percent
    of those that may belong, the subject has no denominator at all.
    """

    id: str
    version: str
    name_vi: str
    name_en: str
    document: str
    clause: str
    valid_from: date
    valid_to: date | None
    population: exp.Expr
    numerator: exp.Expr | None
    event: str | None
    dossier: exp.Expr | None
    least_known_pct: int
    note_vi: str
    #: Hash of everything that decides the counts.
    fingerprint: str

    @property
    def key(self) -> tuple[str, str]:
        """(id, version), unique among definitions."""
        return self.id, self.version


def load_procedure_definitions(folder: Path = FOLDER) -> tuple[ProcedureDefinition, ...]:
    """Read every definition file of `folder`, ordered by id and version.

    Raises `DefinitionError` that names file and line for whatever cannot be computed, and for an
    (id, version) defined twice.
    """
    return load_folder(folder, load_procedure_definition)


def load_procedure_definition(path: Path) -> ProcedureDefinition:
    """Read and check one definition file."""
    place, file = read_definition_file(path, _File)
    days = [column.name for column in CORE_DOSSIER.columns if column.type == DAY]
    if file.event is not None and file.event not in days:
        raise place.wrong("event", f"{file.event!r} is not a day of core_dossier; it has {', '.join(days)}")
    predicates: dict[str, exp.Expr] = {}
    for key, table in (("population", CORE_PROCEDURE), ("numerator", CORE_PROCEDURE), ("dossier", CORE_DOSSIER)):
        if (text := getattr(file, key)) is None:
            continue
        try:
            predicates[key] = parse_predicate(text, table)
        except ValueError as error:
            raise place.wrong(key, str(error)) from None
        # A procedure is judged on the last day of a period; a dossier, whatever the period, by what is known.
        allowed = {"as_of"} if key == "dossier" else set()
        if foreign := sorted(_parameters(predicates[key]) - allowed):
            raise place.wrong(key, f"may not refer to {', '.join(f'${name}' for name in foreign)}")
    decides = [f"{key}: {predicates[key].sql('duckdb')}" for key in sorted(predicates)]
    rest = [file.id, file.version, str(file.event), str(file.least_known_pct), str(file.valid_from), str(file.valid_to)]
    fingerprint = hashlib.sha256("\n".join([*rest, *decides]).encode()).hexdigest()[:16]
    return ProcedureDefinition(**(file.model_dump() | predicates), fingerprint=fingerprint)


def _parameters(predicate: exp.Expr) -> set[str]:
    return {node.name for node in predicate.find_all(exp.Parameter, exp.Placeholder)}


def load_sectors(path: Path | None) -> pa.Table:
    """Read a province's table of sectors (`sector`, `unit_code`) as rows of `SECTOR_COLUMNS`.

    Without a table no department is known to have a sector. A sector with a blank unit belongs to no department of the
    province and yields no row. Raises `SectorError` for a missing column, a blank sector or a sector named twice.
    """
    if path is None:
        return SECTOR_COLUMNS.empty_table()
    rows: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := {"sector", "unit_code"} - set(reader.fieldnames or ()):
            raise SectorError(f"{path}: thiếu cột {', '.join(sorted(missing))} (missing columns)")
        for number, row in enumerate(reader, start=2):
            sector = tidy(row["sector"])
            if not sector or sector in rows:
                why = "ghi hai lần (named twice)" if sector else "để trống (blank)"
                raise SectorError(f"{path}, line {number}: lĩnh vực {sector!r} {why}")
            rows[sector] = row["unit_code"].strip()
    pairs = [{"sector": sector, "unit_code": unit} for sector, unit in rows.items() if unit]
    return pa.Table.from_pylist(pairs, schema=SECTOR_COLUMNS)


def departments_without_sectors(units: pa.Table, sectors: pa.Table) -> tuple[str, ...]:
    """Codes of departments (`core_unit` rows of province level, the province itself aside) with no sector.

    They get no rates of procedures: what is theirs is not known.
    """
    assigned = set(sectors["unit_code"].to_pylist())
    departments = {
        row["unit_code"]
        for row in units.select(["unit_code", "level", "parent_code"]).to_pylist()
        if row["level"] == "province" and row["parent_code"] is not None
    }
    return tuple(sorted(departments - assigned))


def procedure_rows(
    lake: Lake | duckdb.DuckDBPyConnection,
    definitions: Sequence[ProcedureDefinition],
    *,
    province_code: str,
    as_of: datetime,
    start_on: date,
    sectors: pa.Table,
) -> pa.Table:
    """Compute `definitions` as `out_indicator` rows on the boundaries of their time.

    `lake` is the lake, or a connection with the tables core_dossier, core_procedure and core_unit, in which
    temporary tables `procedure_…` are left. `sectors` has the columns of `SECTOR_COLUMNS`; a department without
    a sector gets no row (`departments_without_sectors` names them). Periods run from the month of `start_on` to
    the month of `as_of` in Asia/Ho_Chi_Minh; every other unit has a row in each period in which it exists.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be an instant with its zone")
    connection = lake.connect(CORE_DOSSIER, CORE_PROCEDURE, CORE_UNIT) if isinstance(lake, Lake) else lake
    settings = _setting_row(province_code, as_of, start_on)
    inputs = {"setting": settings, "sector": sectors, "definition": _definition_rows(definitions)}
    for name, table in inputs.items():
        connection.register(f"procedure_{name}", table)
    connection.execute(_script("procedure_subjects"))
    for name, query in (
        ("judged", _judged(definitions)),
        ("known", _known(definitions)),
        ("hit", hits_statement(definitions, as_of=as_of, since=start_on)),
        ("with_dossiers", _with_dossiers(definitions)),
    ):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE procedure_{name} AS {query}")
    rows = connection.sql(_script("procedure_rows")).to_arrow_table()
    return rows.select(list(OUT_INDICATOR.column_names)).cast(OUT_INDICATOR.arrow_schema())


def _setting_row(province_code: str, as_of: datetime, start_on: date) -> pa.Table:
    row = {
        "province_code": province_code,
        "as_of": as_of,
        "start_on": start_on,
        "last_district_day": LAST_DISTRICT_DAY,
    }
    kinds = [("province_code", TEXT), ("as_of", INSTANT), ("start_on", DAY), ("last_district_day", DAY)]
    return pa.Table.from_pylist([row], schema=pa.schema(kinds))


def _script(name: str) -> str:
    return resources.files("assets.indicators").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def _judged(definitions: Sequence[ProcedureDefinition]) -> str:
    """One row per class, judged day and procedure; for each definition i the truth of its predicates.

    `p_i`: it belongs to the population; `n_i`: it is in the numerator; null: not known. Where dossiers
    decide, `n_i` is true: they are looked for apart.
    """
    wide = exp.select("class", "day", "procedure_code").from_("procedure_member")
    for index, definition in enumerate(definitions):
        numerator = exp.true() if definition.numerator is None else definition.numerator.copy()
        wide = wide.select(exp.alias_(exp.paren(definition.population.copy()), f"p_{index}"))
        wide = wide.select(exp.alias_(exp.paren(numerator), f"n_{index}"))
    return wide.sql("duckdb")


def _known(definitions: Sequence[ProcedureDefinition]) -> str:
    """Counts of procedures by class, day and definition: those that may belong, those known, those in the numerator."""
    counts = ", ".join(
        f"{{'definition': {i}, 'candidates': count(*) FILTER (p_{i} IS DISTINCT FROM false), "
        f"'denominator': count(*) FILTER (p_{i} AND n_{i} IS NOT NULL), "
        f"'numerator': count(*) FILTER (p_{i} AND n_{i})}}"
        for i in range(len(definitions))
    )
    return f"SELECT class, day, unnest([{counts}], recursive := true) FROM procedure_judged GROUP BY class, day"


def _with_dossiers(definitions: Sequence[ProcedureDefinition]) -> str:
    """Counts of procedures that had their dossiers, by scope, place, period and definition."""
    asked = [index for index, definition in enumerate(definitions) if definition.dossier is not None]
    eligible = _mask({index: f"p_{index}" for index in asked})
    counts = ", ".join(f"{{'definition': {i}, 'numerator': sum((mask >> {i}) & 1)}}" for i in asked)
    listed = f"[{counts}]" if asked else "[]::STRUCT(definition INTEGER, numerator BIGINT)[]"
    return _script("procedure_with_dossiers").replace("/*eligible*/", eligible).replace("/*counts*/", listed)


def _mask(conditions: Mapping[int, str]) -> str:
    """SQL: a whole number whose bit i says that condition i holds."""
    bits = [f"CASE WHEN {condition} THEN {1 << index}::BIGINT ELSE 0 END" for index, condition in conditions.items()]
    return " | ".join(bits) or "0::BIGINT"


class _Asked(NamedTuple):
    """What a definition asks of dossiers."""

    definition: int
    event: str
    dossier: exp.Expr
    valid_from: date
    valid_to: date | None


def hits_statement(definitions: Sequence[ProcedureDefinition], *, as_of: datetime, since: date) -> str:
    """SQL that says where and when a procedure had the dossiers that definitions ask for.

    Its rows: unit_code, unit_level, procedure_code, month (first day) and `mask`, whose bit i speaks of
    definition i. The dossiers are read once for each event day that the definitions use, from the month of
    `since` on. Raises `ValueError` for more definitions than a mask has bits.
    """
    if len(definitions) > _MASK_BITS:
        raise ValueError(f"{len(definitions)} definitions of procedures, at most {_MASK_BITS} can be counted together")
    asked = [
        _Asked(index, each.event, each.dossier, each.valid_from, each.valid_to)
        for index, each in enumerate(definitions)
        if each.event is not None and each.dossier is not None
    ]
    events = sorted({each.event for each in asked})
    parts = [_hits_of(event, [each for each in asked if each.event == event], as_of, since) for event in events]
    nothing = (
        "SELECT unit_code, unit_level, procedure_code, received_on AS month, 0::BIGINT AS mask "
        "FROM core_dossier WHERE false"
    )
    return " UNION ALL ".join(parts) or nothing


def _hits_of(event: str, asked: Sequence[_Asked], as_of: datetime, since: date) -> str:
    instant = exp.cast(exp.Literal.string(as_of.isoformat()), "TIMESTAMPTZ")
    mask = _mask({each.definition: _holds(each, instant).sql("duckdb") for each in asked})
    return (
        f"SELECT unit_code, unit_level, procedure_code, date_trunc('month', {event})::DATE AS month, "
        f"bit_or({mask}) AS mask FROM core_dossier WHERE {event} >= DATE '{since.replace(day=1)}' GROUP BY ALL"
    )


def _holds(asked: _Asked, instant: exp.Expr) -> exp.Expr:
    """The dossier predicate within the days for which this version is the rule."""
    event = exp.column(asked.event)
    within: list[exp.Expr] = [bind(asked.dossier, {"as_of": instant})]
    within.append(exp.GTE(this=event.copy(), expression=_day(asked.valid_from)))
    if asked.valid_to is not None:
        within.append(exp.LTE(this=event.copy(), expression=_day(asked.valid_to)))
    return exp.and_(*within)


def _day(day: date) -> exp.Expr:
    return exp.cast(exp.Literal.string(day.isoformat()), "DATE")


def _definition_rows(definitions: Sequence[ProcedureDefinition]) -> pa.Table:
    rows = [
        {
            "definition": index,
            "indicator": definition.id,
            "version": definition.version,
            "valid_from": definition.valid_from,
            "valid_to": definition.valid_to,
            "by_dossiers": definition.dossier is not None,
            "least_known_pct": definition.least_known_pct,
        }
        for index, definition in enumerate(definitions)
    ]
    kinds = [("definition", pa.int32()), ("indicator", TEXT), ("version", TEXT), ("valid_from", DAY), ("valid_to", DAY)]
    return pa.Table.from_pylist(
        rows, schema=pa.schema([*kinds, ("by_dossiers", FLAG), ("least_known_pct", pa.int64())])
    )
