"""The province's tables of meanings: what each source calls a unit, and what its codes mean.

Belongs here: reading and checking the two CSV files. Does not belong here: applying them (SQL).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from warehouse.tables import CHANNELS, SERVICE_LEVELS

#: What a code of each kind may mean.
VALUES: Mapping[str, frozenset[str]] = {
    "status": frozenset(str(code) for code in range(1, 11)),
    "channel": frozenset(CHANNELS),
    "service_level": frozenset(SERVICE_LEVELS),
    "payment_method": frozenset(("online", "cash", "transfer")),
    # Databases that a message says were asked (DSKetNoiCSDL); only the population's counts (formula 4.5).
    "database": frozenset(("population",)),
}


class MeaningError(ValueError):
    """A line of a table of meanings cannot be used; the text names file, line and column."""


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise MeaningError(f"{path}: column {', '.join(sorted(missing))} is missing")
        for row in reader:
            yield reader.line_num, {name: (row[name] or "").strip() for name in columns}


def load_codes(path: Path) -> pa.Table:
    """Read source, kind, code, value; one meaning per code.

    Raises `MeaningError` for an unknown kind, a value outside the kind's list, or a code twice.
    """
    seen: dict[tuple[str, ...], int] = {}
    rows = []
    for line, row in _rows(path, ("source", "kind", "code", "value")):
        if row["kind"] not in VALUES:
            raise MeaningError(f"{path}, line {line}: kind {row['kind']!r} is not one of {', '.join(VALUES)}")
        if row["value"] not in VALUES[row["kind"]]:
            known = ", ".join(sorted(VALUES[row["kind"]]))
            raise MeaningError(f"{path}, line {line}: value {row['value']!r} of a {row['kind']} is not one of {known}")
        _once(seen, (row["source"], row["kind"], row["code"]), path, line)
        rows.append(row)
    return pa.Table.from_pylist(
        rows, schema=pa.schema([(name, pa.string()) for name in ("source", "kind", "code", "value")])
    )


def load_agencies(path: Path) -> pa.Table:
    """Read source, agency, unit_code; one unit per name. Raises `MeaningError` like `load_codes`."""
    seen: dict[tuple[str, ...], int] = {}
    rows = []
    for line, row in _rows(path, ("source", "agency", "unit_code")):
        if not row["agency"] or not row["unit_code"]:
            raise MeaningError(f"{path}, line {line}: agency and unit_code must both be given")
        _once(seen, (row["source"], row["agency"].casefold()), path, line)
        rows.append(row)
    return pa.Table.from_pylist(
        rows, schema=pa.schema([(name, pa.string()) for name in ("source", "agency", "unit_code")])
    )


def _once(seen: dict[tuple[str, ...], int], key: tuple[str, ...], path: Path, line: int) -> None:
    if key in seen:
        raise MeaningError(f"{path}, line {line}: {' / '.join(key)} stands already in line {seen[key]}")
    seen[key] = line
