"""Reference data as tables: units by date, procedures.

Belongs here: reading the official CSV files under `reference/` into the declared tables. Does not
belong here: what a source calls a unit (that is a province's configuration).
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from warehouse.tables import CORE_PROCEDURE, CORE_UNIT

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


@cache
def procedure_table() -> pa.Table:
    """The national catalogue of procedures as `core_procedure` rows.

    A procedure has a fee when the catalogue publishes a fee amount (formula 3.6: "procedures having
    fee info"), and must return a document when it publishes a result.
    """
    rows = [
        {
            "procedure_code": row["procedure_code"],
            "valid_from": SINCE_RECORDS_BEGAN,
            "valid_to": None,
            "name": tidy(row["name"]),
            "sector": tidy(row["sector"]) or None,
            "levels": tidy(row["levels"]) or None,
            "has_fee": row["mentions_fee_amount"] == "True",
            "is_result_required": bool(row["result"].strip()),
            "offers_online": row["offers_online"] == "True",
            "limit_value": float(row["limit_value"]) if row["limit_value"] else None,
            "limit_unit": row["limit_unit"] or None,
        }
        for row in _read("procedures.csv")
    ]
    return pa.Table.from_pylist(rows, schema=CORE_PROCEDURE.arrow_schema())
