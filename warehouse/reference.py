"""Reference data as tables: units by date, procedures, and what catalogues say of them later.

Belongs here: reading the official CSV files under `reference/` into the declared tables. Does not
belong here: what a source calls a unit (that is a province's configuration).
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.calendar import Calendar
from warehouse.schema import Table
from warehouse.tables import CORE_CALENDAR, CORE_PROCEDURE, CORE_SUCCESSION, CORE_UNIT

_FOLDER = Path(__file__).parent / "reference"

#: First day of rows whose beginning no source states.
SINCE_RECORDS_BEGAN = date(1900, 1, 1)
#: Last day of the district level and of the old communes (Law on Local Government 2025, law-units 4.1).
LAST_DISTRICT_DAY = date(2025, 6, 30)
FIRST_TWO_TIER_DAY = date(2025, 7, 1)

Row = dict[str, Any]


class UnknownProvinceError(LookupError):
    """The province code is not in the national portal's list."""


def tidy(text: str) -> str:
    """Vietnamese text in NFC with single spaces, so that equal names compare equal."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


@cache
def _read(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def gso_province_code(province_code: str) -> str:
    """GSO code (in force since 2025-07-01) of a province's portal code, e.g. H15 → 66.

    Raises `UnknownProvinceError` naming the known codes.
    """
    known = {row["portal_code"]: row["gso_code_from_2025-07-01"] for row in _read("province_portal_codes.csv")}
    if province_code not in known:
        raise UnknownProvinceError(f"province code {province_code!r} is not one of {', '.join(sorted(known))}")
    return known[province_code]


def reference_tables(province_code: str, departments: Path, calendar: Calendar) -> Iterator[tuple[Table, pa.Table]]:
    """Every table of reference data with its rows: units, successions, procedures, working days."""
    yield CORE_UNIT, unit_table(province_code, departments)
    yield CORE_SUCCESSION, succession_table(province_code)
    yield CORE_PROCEDURE, procedure_table()
    yield CORE_CALENDAR, calendar.table()


def unit_table(province_code: str, departments: Path) -> pa.Table:
    """Every unit of a province, dated, as `core_unit` rows.

    Districts and old communes end on 2025-06-30, the communes of the two-tier government begin on
    2025-07-01. The province keeps its code over a change of territory and so has two rows. Before
    that day the province is the one that carries its name on; units of provinces merged into it are
    not invented under its code.
    `departments` is a CSV file with code, name, valid_from, valid_to (both may be blank).
    """
    rows = [
        *_province_rows(province_code),
        *_department_rows(province_code, departments),
        *_until_2025(province_code),
        *_since_2025(province_code),
    ]
    return pa.Table.from_pylist(rows, schema=CORE_UNIT.arrow_schema()).sort_by(
        [(name, "ascending") for name in CORE_UNIT.sort]
    )


def _unit(province_code: str, unit_code: str, name: str, level: str, **more: Any) -> Row:
    row: Row = {
        "unit_code": unit_code,
        "valid_from": SINCE_RECORDS_BEGAN,
        "valid_to": None,
        "name": tidy(name),
        "level": level,
        "parent_code": province_code,
        "province_code": province_code,
        "gso_code": None,
    }
    return row | more


def _old_gso_code(province_code: str) -> str:
    """GSO code before 2025-07-01 of the province that carries the name on.

    The survivor of a merger may have taken another code (Tây Ninh: 72, then 80, which had been Long
    An's), so the old code is found by name.
    """
    new_code = gso_province_code(province_code)
    candidates = [row for row in _read("provinces_crosswalk_2025-07-01.csv") if row["new_code"] == new_code]
    same_name = [row for row in candidates if _bare(row["old_name"]) == _bare(row["new_name"])]
    return (same_name or candidates)[0]["old_code"]


def _bare(name: str) -> str:
    return re.sub(r"^(tỉnh|thành phố) ", "", tidy(name).casefold())


def _province_rows(province_code: str) -> Iterator[Row]:
    old = _old_gso_code(province_code)
    new = gso_province_code(province_code)
    old_name = next(r["province"] for r in _read("communes_until_2025-06-30.csv") if r["province_code"] == old)
    new_name = next(r["province"] for r in _read("communes_from_2025-07-01.csv") if r["province_code"] == new)
    yield _unit(
        province_code, province_code, old_name, "province", parent_code=None, valid_to=LAST_DISTRICT_DAY, gso_code=old
    )
    yield _unit(
        province_code,
        province_code,
        new_name,
        "province",
        parent_code=None,
        valid_from=FIRST_TWO_TIER_DAY,
        gso_code=new,
    )


def _department_rows(province_code: str, departments: Path) -> Iterator[Row]:
    with departments.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            if not row["code"].startswith(f"{province_code}."):
                raise ValueError(f"{departments}, line {number}: code {row['code']!r} must begin with {province_code}.")
            yield _unit(
                province_code,
                row["code"],
                row["name"],
                "province",
                valid_from=date.fromisoformat(row["valid_from"]) if row["valid_from"] else SINCE_RECORDS_BEGAN,
                valid_to=date.fromisoformat(row["valid_to"]) if row["valid_to"] else None,
            )


def _until_2025(province_code: str) -> Iterator[Row]:
    gso = _old_gso_code(province_code)
    seen: set[str] = set()
    for row in _read("communes_until_2025-06-30.csv"):
        if row["province_code"] != gso:
            continue
        district = f"{province_code}.{row['district_code']}"
        if district not in seen:
            seen.add(district)
            yield _unit(
                province_code,
                district,
                row["district"],
                "district",
                valid_to=LAST_DISTRICT_DAY,
                gso_code=row["district_code"],
            )
        yield _unit(
            province_code,
            f"{district}.{row['commune_code']}",
            row["commune"],
            "commune",
            parent_code=district,
            valid_to=LAST_DISTRICT_DAY,
            gso_code=row["commune_code"],
        )


def _since_2025(province_code: str) -> Iterator[Row]:
    gso = gso_province_code(province_code)
    for row in _read("communes_from_2025-07-01.csv"):
        if row["province_code"] == gso:
            yield _unit(
                province_code,
                f"{province_code}.{row['commune_code']}",
                row["commune"],
                "commune",
                valid_from=FIRST_TWO_TIER_DAY,
                gso_code=row["commune_code"],
            )


def succession_table(province_code: str) -> pa.Table:
    """Which commune of the province took over which old one, as `core_succession` rows.

    A commune that went to several is marked split: nobody says in what shares. Old communes of
    provinces merged into this one have no code here (see `unit_table`) and so no row.
    """
    gso = _old_gso_code(province_code)
    district = {row["commune_code"]: row["district_code"] for row in _read("communes_until_2025-06-30.csv")}
    rows = [
        {
            "unit_code": f"{province_code}.{district[row['old_code']]}.{row['old_code']}",
            "successor_code": f"{province_code}.{row['new_code']}",
            "is_split": int(row["n_new"]) > 1 or row["type"] != "full",
            "is_confirmed": row["confirmed_by_second_source"] == "True",
        }
        for row in _read("communes_crosswalk_2025-07-01.csv")
        if row["old_province_code"] == gso
    ]
    return pa.Table.from_pylist(rows, schema=CORE_SUCCESSION.arrow_schema()).sort_by(
        [(name, "ascending") for name in CORE_SUCCESSION.sort]
    )


#: The reference file cuts a list of applicants here; what stood behind it is not known.
_APPLICANTS_CUT_AT = 120


@cache
def procedure_table() -> pa.Table:
    """The national catalogue of procedures as `core_procedure` rows.

    A procedure has a fee when the catalogue publishes a fee amount (formula 3.6: "procedures having
    fee info"), must return a document when it publishes a result, and concerns citizens when they are
    among the applicants (formula 4.5). The file knows the channels but not the levels of online
    service, nor online payment, nor integration on the national portal: these stay null until a
    catalogue that knows them is merged in (`merge_catalogue`).
    """
    rows = [_procedure(row) for row in _read("procedures.csv")]
    return pa.Table.from_pylist(rows, schema=CORE_PROCEDURE.arrow_schema())


def _procedure(row: dict[str, str]) -> Row:
    applicants = tidy(row["applicants"])
    return {
        "procedure_code": row["procedure_code"],
        "valid_from": SINCE_RECORDS_BEGAN,
        "valid_to": None,
        "name": tidy(row["name"]),
        "sector": tidy(row["sector"]) or None,
        "levels": tidy(row["levels"]) or None,
        "has_fee": row["mentions_fee_amount"] == "True",
        "is_result_required": bool(row["result"].strip()),
        "offers_online": row["offers_online"] == "True",
        "is_citizen_subject": concerns_citizens(applicants),
        "has_whole_applicants": bool(applicants) and len(row["applicants"]) < _APPLICANTS_CUT_AT,
        "limit_value": float(row["limit_value"]) if row["limit_value"] else None,
        "limit_unit": row["limit_unit"] or None,
        "state": "in_force",
        "source": "reference",
        "stated_on": None,
    }


def concerns_citizens(applicants: str) -> bool:
    """Whether citizens are among the applicants as published (formula 4.5: "thủ tục của công dân")."""
    return "công dân" in tidy(applicants).casefold()


#: What a catalogue can say of a procedure, beside its code.
CATALOGUE_SAYS = tuple(
    name
    for name in CORE_PROCEDURE.column_names
    if name not in {"procedure_code", "valid_from", "valid_to", "source", "stated_on"}
)
#: What holds from the day on which it is learned: nobody said that it held before.
_LEARNED = ("online_level", "is_online_eligible", "offers_online_payment", "is_integrated")
#: Pairs that are said together or not at all.
_TOGETHER = (("limit_value", "limit_unit"), ("is_citizen_subject", "has_whole_applicants"))
#: Without these a procedure that nobody knew yet cannot be a row.
_NEEDED = ("name", "has_fee", "is_result_required", "offers_online")
_UNSAID: Row = {"state": "in_force", "is_citizen_subject": False, "has_whole_applicants": False}


def known_procedures(stored: pa.Table) -> pa.Table:
    """`stored` (`core_procedure` rows, maybe none) with the procedures of `procedure_table` that it lacks.

    What was learned stays when the reference files come anew with the code; what only they know comes in.
    """
    if stored.num_rows == 0:
        return procedure_table()
    lacking = pc.invert(pc.is_in(procedure_table()["procedure_code"], stored["procedure_code"].combine_chunks()))
    return _in_order([*stored.to_pylist(), *procedure_table().filter(lacking).to_pylist()])


def merge_catalogue(reference: pa.Table, fetched: pa.Table, *, on: date) -> pa.Table:
    """`reference` (`core_procedure` rows) with what a catalogue said on the day `on`.

    `fetched` has `procedure_code`, `source` and any columns of `CATALOGUE_SAYS`; a column that is missing,
    or null in a row, says nothing, and what was known stays. A procedure of which something changed has
    its row closed the day before and another one opened; the same statement again changes nothing, and
    another one on the same day takes the place of the first. A procedure that nobody knew begins with the
    records, like those of the reference files, but the level of its online service, online payment,
    integration and eligibility only on `on`. One that `fetched` does not name stays as it is: not being
    named is no repeal. Codes for which `unplaced_procedures` speaks are left out.

    Raises `ValueError` for a code named twice, and for a statement older than the row it would change.
    """
    histories: dict[str, list[Row]] = {}
    for row in sorted(reference.to_pylist(), key=lambda row: row["valid_from"]):
        histories.setdefault(row["procedure_code"], []).append(row)
    seen: set[str] = set()
    for row in fetched.to_pylist():
        code = row["procedure_code"]
        if code in seen:
            raise ValueError(f"thủ tục {code} được nói hai lần trong cùng một danh mục (procedure named twice)")
        seen.add(code)
        history = histories.get(code)
        if history is not None:
            _amend(history, _said(row), row["source"], on)
        elif _can_be_placed(row):
            histories[code] = _first_rows(code, _said(row), row["source"], on)
    return _in_order([row for history in histories.values() for row in history])


def unplaced_procedures(reference: pa.Table, fetched: pa.Table) -> tuple[str, ...]:
    """Codes of `fetched` that `reference` does not know and that say too little to become a row."""
    known = set(reference["procedure_code"].to_pylist())
    rows = [row for row in fetched.to_pylist() if row["procedure_code"] not in known]
    return tuple(sorted(row["procedure_code"] for row in rows if not _can_be_placed(row)))


def _said(row: Row) -> Row:
    said = {name: row[name] for name in CATALOGUE_SAYS if row.get(name) is not None}
    for first, second in _TOGETHER:
        if first in said:
            said[second] = _UNSAID.get(second) if row.get(second) is None else row[second]
    return said


def _can_be_placed(row: Row) -> bool:
    return all(row.get(name) is not None for name in _NEEDED)


def _amend(history: list[Row], said: Row, source: str, on: date) -> None:
    """Let the newest row of a procedure agree with what was said of it on `on`."""
    newest = history[-1]
    has_ended = newest["valid_to"] is not None and newest["valid_to"] < on
    if not has_ended and all(newest[name] == value for name, value in said.items()):
        return
    if newest["valid_from"] > on:
        code, since = newest["procedure_code"], newest["valid_from"]
        raise ValueError(
            f"thủ tục {code}: danh mục ngày {on:%d/%m/%Y} cũ hơn điều đã biết từ {since:%d/%m/%Y} "
            "(the catalogue is older than what is known)"
        )
    opened = newest | said | {"valid_from": on, "valid_to": None, "source": source, "stated_on": on}
    if newest["valid_from"] == on:
        history[-1] = opened
        return
    if not has_ended:
        history[-1] = newest | {"valid_to": on - timedelta(days=1)}
    history.append(opened)


def _first_rows(code: str, said: Row, source: str, on: date) -> list[Row]:
    """The rows of a procedure that nobody knew before `on`."""
    blank: Row = dict.fromkeys(CORE_PROCEDURE.column_names)
    stated = {"procedure_code": code, "source": source, "stated_on": on}
    whole = blank | _UNSAID | said | stated | {"valid_from": on}
    if all(whole[name] is None for name in _LEARNED):
        return [whole | {"valid_from": SINCE_RECORDS_BEGAN}]
    before = {"valid_from": SINCE_RECORDS_BEGAN, "valid_to": on - timedelta(days=1)}
    return [whole | dict.fromkeys(_LEARNED) | before, whole]


def _in_order(rows: list[Row]) -> pa.Table:
    table = pa.Table.from_pylist(rows, schema=CORE_PROCEDURE.arrow_schema())
    return table.sort_by([(name, "ascending") for name in CORE_PROCEDURE.sort])
