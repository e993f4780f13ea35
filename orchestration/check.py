"""Checking a configuration before a night relies on it.

Belongs here: which things are checked, in which order, and one result for each. Does not belong here:
printing (`cli.py`), or how a file or a source is checked (its own module).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.table import Table

from assets.dossiers.directory import places
from assets.dossiers.meanings import MeaningError, load_agencies, load_codes
from assets.dossiers.profiled import Profiled, profiled_systems
from assets.indicators.definitions import DefinitionError, load_definitions
from assets.indicators.observed import VERSION, observed_indicators
from assets.indicators.procedures import departments_without_sectors, load_procedure_definitions, load_sectors
from assets.raw.extraction import UnreachableSource, probe
from assets.scorecards.sets import load_sets
from connectors.units import UnitSettings
from expectations.suites import SuiteError
from expectations.targets import TargetError, load_targets
from expectations.wording import count_vi
from orchestration.reach import has_sample, reach_catalogue, reach_observations, reach_sample, reach_units
from orchestration.receive import probe as probe_receiver
from orchestration.settings import ConfigurationError, Home, Province, load_province
from orchestration.survey import survey
from warehouse.reference import UnknownProvinceError, procedure_table, unit_table

#: Records of a profiled system that are looked at.
SAMPLE_ROWS = 200


@dataclass(frozen=True)
class Finding:
    """What came of one check: what was looked at, whether it holds, and what was found or is wrong."""

    subject: str
    is_fit: bool
    text: str
    #: What is better seen than told.
    tables: tuple[Table, ...] = ()


def check_configuration(path: Path, home: Home) -> Iterator[Finding]:
    """Check the province file, then everything it names, then reach whatever is read; goes on after a fault."""
    try:
        province = load_province(path, home=home)
    except ConfigurationError as error:
        yield Finding(str(path), is_fit=False, text=str(error))
        return
    known = f"{province.name} ({province.province_code}), {len(province.sources)} nguồn"
    yield Finding(str(path), is_fit=True, text=known)
    for subject, look in _files(province):
        yield _found(subject, look)
    unreached: set[str] = set()
    for subject, look in _endpoints(province):
        finding = _found(subject, look)
        unreached |= set() if finding.is_fit else {subject}
        yield finding
    for system in profiled_systems(province.sources):
        if f"sources.{system.name}" not in unreached and has_sample(province.sources[system.name]):
            yield _sampled(province, system)


def _sampled(province: Province, system: Profiled) -> Finding:
    """What the profile of a system makes of a few records."""
    subject = f"sources.{system.name}.profile"
    try:
        found = survey(
            reach_sample(system.name, province.sources[system.name], SAMPLE_ROWS),
            system,
            agencies=load_agencies(province.agencies),
            codes=load_codes(province.codes),
            procedures=procedure_table(),
        )
    except (MeaningError, OSError, UnreachableSource, ValueError) as error:
        return Finding(subject, is_fit=False, text=str(error))
    if not found.rows:
        return Finding(subject, is_fit=True, text="chưa có bản ghi nào để xem · no record to look at")
    text = "; ".join(found.problems) or f"{count_vi(found.rows)} bản ghi mẫu, mọi mã đều có nghĩa · all mapped"
    return Finding(subject, is_fit=not found.problems, text=text, tables=found.tables())


def _endpoints(province: Province) -> Iterator[tuple[str, Callable[[], str]]]:
    for name, source in province.sources.items():
        yield f"sources.{name}", partial(probe, name, source)
    for number, catalogue in enumerate(province.catalogue):
        key = f"catalogue.{number}"
        yield key, partial(reach_catalogue, key, catalogue)
    for number, directory in enumerate(province.units):
        key = f"units.{number}"
        yield key, partial(_directory, key, directory, province)
    for name, system in province.observation_sources.items():
        key = f"observation_sources.{name}"
        yield key, partial(reach_observations, key, system)
    if province.receiver is not None:
        yield "receiver", partial(probe_receiver, province)
    if province.evaluation is not None:
        # Read as a courtesy, once a night: it is not called to see whether it answers.
        yield "evaluation", lambda: "được cấu hình; không gọi thử"


def _directory(key: str, settings: UnitSettings, province: Province) -> str:
    return reach_units(key, settings, places=places(unit_table(province.province_code, province.departments)))


def _files(province: Province) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "departments", lambda: f"{unit_table(province.province_code, province.departments).num_rows} đơn vị"
    yield "agencies", lambda: f"{load_agencies(province.agencies).num_rows} tên đơn vị của các nguồn"
    yield "codes", lambda: f"{load_codes(province.codes).num_rows} mã"
    yield "units of agencies", lambda: _units_known(province)
    yield "calendar", lambda: _calendar(province)
    yield "sectors", lambda: _sectors(province)
    yield "observations", lambda: _observations(province.observations)
    yield "definitions", _definitions
    yield "targets", lambda: f"{_targets(province)} dòng chỉ tiêu"
    yield "score sets", lambda: ", ".join(f"{each.set} ({len(each.components)} tiêu chí)" for each in load_sets())


def _definitions() -> str:
    return (
        f"{len(load_definitions())} định nghĩa từ hồ sơ, {len(load_procedure_definitions())} từ danh mục thủ tục, "
        f"{len(observed_indicators())} từ số liệu hệ thống khác"
    )


def _targets(province: Province) -> int:
    known = {(one.id, one.version) for one in load_definitions()}
    known |= {(one.id, one.version) for one in load_procedure_definitions()}
    known |= {(one.id, VERSION) for one in observed_indicators()}
    return len(load_targets(province.targets, known=known, province_code=province.province_code))


def _calendar(province: Province) -> str:
    calendar = province.working_calendar()
    first, last, cut_off = calendar.days[0].day, calendar.days[-1].day, calendar.cut_off
    until = "không có giờ chốt tiếp nhận" if cut_off is None else f"chốt tiếp nhận {cut_off:%H:%M}"
    return f"{first:%d/%m/%Y} – {last:%d/%m/%Y}, làm việc {calendar.office_hours.text}, {until}"


def _sectors(province: Province) -> str:
    units, sectors = unit_table(province.province_code, province.departments), load_sectors(province.sectors)
    if unknown := sorted(set(sectors["unit_code"].to_pylist()) - set(units["unit_code"].to_pylist())):
        raise MeaningError(f"{province.sectors}: unit_code {', '.join(unknown[:5])} is not a unit of the province")
    without = departments_without_sectors(units, sectors)
    lacking = f"; chưa có lĩnh vực: {', '.join(without)}" if without else ""
    return f"{count_vi(sectors.num_rows)} lĩnh vực có sở phụ trách{lacking}"


def _observations(folder: Path | None) -> str:
    if folder is None:
        return "không cấu hình thư mục số liệu"
    if not folder.is_dir():
        raise NotADirectoryError(f"observations: {folder} does not exist; create it, or leave the key out")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "~$"))]
    return f"{count_vi(len(files))} tệp trong {folder}"


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
