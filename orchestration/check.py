"""Checking a configuration before a night relies on it.

Belongs here: which things are checked, in which order, and one result for each. Does not belong here:
printing (`cli.py`), or how a file or a source is checked (its own module).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assets.dossiers.meanings import MeaningError, load_agencies, load_codes
from assets.indicators.definitions import DefinitionError, load_definitions
from assets.raw.extraction import UnreachableSource, probe
from expectations.suites import SuiteError
from expectations.targets import TargetError, load_targets
from orchestration.settings import ConfigurationError, Home, Province, load_province
from warehouse.reference import UnknownProvinceError, unit_table


@dataclass(frozen=True)
class Finding:
    """What came of one check: what was looked at, whether it holds, and what was found or is wrong."""

    subject: str
    is_fit: bool
    text: str


def check_configuration(path: Path, home: Home) -> Iterator[Finding]:
    """Check the province file, then everything it names, then reach every source; goes on after a fault."""
    try:
        province = load_province(path, home=home)
    except ConfigurationError as error:
        yield Finding(str(path), is_fit=False, text=str(error))
        return
    known = f"{province.name} ({province.province_code}), {len(province.sources)} nguồn"
    yield Finding(str(path), is_fit=True, text=known)
    for subject, look in _files(province):
        yield _found(subject, look)
    for name, source in province.sources.items():
        yield _found(f"sources.{name}", partial(probe, name, source))


def _files(province: Province) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "departments", lambda: f"{unit_table(province.province_code, province.departments).num_rows} đơn vị"
    yield "agencies", lambda: f"{load_agencies(province.agencies).num_rows} tên đơn vị của các nguồn"
    yield "codes", lambda: f"{load_codes(province.codes).num_rows} mã"
    yield "definitions", lambda: f"{len(load_definitions())} định nghĩa chỉ số"
    yield "targets", lambda: f"{_targets(province)} dòng chỉ tiêu"
    yield "units of agencies", lambda: _units_known(province)


def _targets(province: Province) -> int:
    known = {(one.id, one.version) for one in load_definitions()}
    return len(load_targets(province.targets, known=known))


def _units_known(province: Province) -> str:
    units = set(unit_table(province.province_code, province.departments)["unit_code"].to_pylist())
    unknown = sorted(set(load_agencies(province.agencies)["unit_code"].to_pylist()) - units)
    if unknown:
        raise MeaningError(f"{province.agencies}: unit_code {', '.join(unknown[:5])} is not a unit of the province")
    return f"{len(units)} mã đơn vị"


def _found(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, is_fit=True, text=look())
    except (
        DefinitionError,
        MeaningError,
        OSError,
        SuiteError,
        TargetError,
        UnknownProvinceError,
        UnreachableSource,
        ValueError,
    ) as error:
        return Finding(subject, is_fit=False, text=str(error))
