"""What several commands ask alike: a definition, a period, a unit, a file to write.

Belongs here: reading such words from the command line, and naming the one that is wrong. Does not belong here:
anything that one command asks alone, or its answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from orchestration.settings import ConfigurationError

if TYPE_CHECKING:
    from assets.indicators.definitions import Definition
    from assets.periods import Period
    from warehouse.lake import Lake


def chosen(definitions: Sequence[Definition], indicator: str, version: str | None) -> Definition:
    """The definition that two words on the command line mean.

    Raises `ConfigurationError` that lists what there is for an unknown indicator, and the versions of one
    that has several.
    """
    named = [one for one in definitions if one.id == indicator]
    matching = [one for one in named if version in (None, one.version)]
    if len(matching) == 1:
        return matching[0]
    if named:
        versions = ", ".join(one.version for one in named)
        raise ConfigurationError(f"{indicator}: hãy chọn --version, có: {versions} (choose a version)")
    known = ", ".join(sorted({one.id for one in definitions}))
    raise ConfigurationError(
        f"{indicator}: không có chỉ số này trong các chỉ số đếm từ hồ sơ; có: {known} (no indicator of dossiers)"
    )


def chosen_period(text: str, *, key: str = "--period") -> Period:
    """The period that `key` says; `ConfigurationError` names the key."""
    from assets.periods import Period, PeriodError

    try:
        return Period.parse(text)
    except PeriodError as error:
        raise ConfigurationError(f"{key}: {error}") from None


def chosen_unit(lake: Lake, unit: str | None) -> str | None:
    """The unit that `--unit` says, None for the whole province: said by nothing, or by the province's own code.

    Raises `ConfigurationError` for a code that no unit has or had: it would read as a unit without dossiers.
    """
    from warehouse.tables import CORE_UNIT

    if unit is None:
        return None
    found = lake.connect(CORE_UNIT).execute(
        "SELECT any_value(unit_code = province_code) FROM core_unit WHERE unit_code = ? GROUP BY unit_code", [unit]
    )
    row = found.fetchone()
    if row is None:
        raise ConfigurationError(f"--unit {unit}: không có đơn vị nào mang mã này (no unit has this code)")
    return None if row[0] else unit


@contextmanager
def csv_file(path: Path, *, key: str) -> Iterator[TextIO]:
    """A CSV file to write that Excel opens as UTF-8; `ConfigurationError` names `key` where it cannot be written."""
    try:
        with path.open("w", encoding="utf-8-sig", newline="") as stream:
            yield stream
    except OSError as error:
        raise ConfigurationError(f"{key} {path}: không ghi được ({error.strerror}) (cannot be written)") from None


def safe(value: object) -> str:
    """A CSV cell: blank for nothing, 1 and 0 for flags, never the beginning of a formula."""
    from assets.publications.xlsx import FORMULA_BEGINNINGS

    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text
