"""Where state lives and which province is measured.

Belongs here: reading the environment (THUOCDO_HOME and its two overrides) and a province's YAML
file, and saying in plain words which key is wrong. Does not belong here: anything that opens a
connection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlparse

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from assets.dossiers.meanings import MeaningError
from assets.dossiers.profiled import profiled_systems
from assets.raw.kinds import below_home
from connectors.catalogue import CatalogueServiceSettings
from connectors.catalogue_files import CatalogueFileSettings
from connectors.evaluation import EvaluationSettings
from connectors.exports import ExportSettings
from connectors.observations import ObservationApiSettings
from connectors.profiled import ProfiledSettings, ProfileError
from connectors.receiver_settings import ReceiverSettings
from connectors.sources import SourceSettings
from connectors.units import UnitFileSettings, UnitServiceSettings
from warehouse import objects
from warehouse.calendar import Calendar, OfficeHours

CatalogueSettings = Annotated[CatalogueServiceSettings | CatalogueFileSettings, Field(discriminator="kind")]
UnitSettings = Annotated[UnitServiceSettings | UnitFileSettings, Field(discriminator="kind")]

_Settings = TypeVar("_Settings", bound=BaseModel)

SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="lower-case letters, digits and _")]

DEFAULT_HOME = ".thuocdo"
DEFAULT_PROVINCE = "provinces/dak-lak.yaml"


class ConfigurationError(ValueError):
    """The configuration cannot be used; the text names the file and the key, one problem per line."""


@dataclass(frozen=True)
class Home:
    """Where everything that is kept lives.

    `root` comes from THUOCDO_HOME; its two halves, the SQL database and the storage of the lake and
    the publications, can be moved with THUOCDO_DATABASE_URL and THUOCDO_STORAGE_URL. `remote` is the bucket and
    prefix of an s3:// storage URL: the lake is there alone, publications there besides `storage`.
    """

    root: Path
    database_url: str
    storage: Path
    remote: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Home:
        """Read the three variables; a storage URL other than a folder or a bucket is refused by name."""
        root = Path(environment.get("THUOCDO_HOME") or DEFAULT_HOME).expanduser().resolve()
        database = environment.get("THUOCDO_DATABASE_URL") or f"sqlite:///{root / 'thuocdo.db'}"
        storage, remote = _storage(environment.get("THUOCDO_STORAGE_URL"), root)
        return cls(root=root, database_url=database, storage=storage, remote=remote)

    @property
    def lake(self) -> str:
        """Root of the Delta tables."""
        return f"{self.remote}/lake" if self.remote else str(self.storage / "lake")

    @property
    def published(self) -> Path:
        """What BI tools read; always a whole publication."""
        return self.storage / "published"

    @property
    def hash_key(self) -> Path:
        """Key of the quarantine's hashes, where the environment names none."""
        return self.root / "hash.key"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"


def _storage(url: str | None, root: Path) -> tuple[Path, str | None]:
    """The folder for what is kept in folders, and the bucket with prefix where there is one."""
    if not url:
        return root, None
    if not objects.is_remote(url):
        return Path(urlparse(url).path).expanduser().resolve(), None
    try:
        objects.check(url)
    except objects.StorageError as error:
        raise ConfigurationError(f"THUOCDO_STORAGE_URL: {error}") from None
    return root, url.rstrip("/")


class Province(BaseModel):
    """One province: its sources and the tables that give their codes a meaning. One YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    province_code: Annotated[str, Field(pattern=r"^H\d{2}$", description="code on the national portal")]
    name: str
    #: First day of extraction; daily partitions begin here.
    start_on: date
    #: Files beside the YAML file.
    departments: Path
    agencies: Path
    codes: Path
    #: Days on which this province's offices do or do not work against the national calendar.
    calendar: Path | None = None
    #: Spans of the day, as "07:30-11:30".
    office_hours: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("07:30-11:30", "13:00-17:00")
    #: A dossier received later in the day counts from the next working day; none unless said.
    reception_cut_off: time | None = None
    #: Which department is responsible for the procedures of a sector.
    sectors: Path | None = None
    #: Folder of observations handed in as files; below THUOCDO_HOME when relative.
    observations: Path | None = None
    #: Systems that state observations over HTTP.
    observation_sources: dict[str, ObservationApiSettings] = Field(default_factory=dict)
    #: Where the catalogue of procedures is learned from, besides the reference files; what a later one says counts.
    catalogue: tuple[CatalogueSettings, ...] = ()
    #: They are asked together, every so many days: a national service is no place for thousands of calls a night.
    catalogue_every_days: Annotated[int, Field(ge=1)] = 7
    #: The national portal's published evaluation; not read unless configured.
    evaluation: EvaluationSettings | None = None
    #: Messages in the national portal's format that one-stop vendors send here; none are received unless configured.
    receiver: ReceiverSettings | None = None
    #: Which target sets apply, by file name under expectations/targets/.
    targets: list[str]
    #: Counts below this are not judged (verdict too_few).
    minimum_denominator: Annotated[int, Field(ge=0)] = 0
    #: By name; a name becomes part of table names and keys.
    sources: Annotated[dict[SourceName, SourceSettings], Field(min_length=1)]
    #: Directories of what the sources call their units, one a source; below the sources, whose names they use.
    units: tuple[UnitSettings, ...] = ()
    #: Each is asked every so many days.
    units_every_days: Annotated[int, Field(ge=1)] = 7

    @field_validator("units")
    @classmethod
    def _one_directory_a_source(cls, units: tuple[UnitSettings, ...], info: ValidationInfo) -> tuple[UnitSettings, ...]:
        """Two lists of one source's codes would close each other's rows every night."""
        known, seen = info.data.get("sources", {}), set[str]()
        for each in units:
            if each.source not in known:
                raise ValueError(f"source {each.source!r} is not one of {', '.join(known)}")
            if each.source in seen:
                raise ValueError(f"source {each.source!r} has two directories; one file can hold both lists")
            seen.add(each.source)
        return units

    def working_calendar(self) -> Calendar:
        """The national calendar with the province's own days, hours and cut-off.

        Raises `ConfigurationError` that names the file and line, or the key.
        """
        try:
            hours = OfficeHours.of(*self.office_hours)
            return Calendar.load(self.calendar, office_hours=hours, cut_off=self.reception_cut_off)
        except ValueError as error:
            raise ConfigurationError(f"calendar, office_hours: {error}") from None


def load_province(path: Path, *, home: Home | None = None) -> Province:
    """Read and validate one province file; paths in it are relative to the file.

    With `home`, what comes in there from outside (message logs, observations, exported lists) is resolved below
    the home's root where its path is relative.
    Raises `ConfigurationError` that names the file and every wrong key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; THUOCDO_PROVINCE or the argument must name one") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: expected a mapping of keys at the top")
    try:
        province = Province.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_problem(path, problem) for problem in error.errors())) from None
    province = province.model_copy(update=_resolved(province, path))
    return province.model_copy(update=_below_home(province, home))


def province_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The province file that THUOCDO_PROVINCE names, the sandbox's by default."""
    return Path(environment.get("THUOCDO_PROVINCE") or DEFAULT_PROVINCE)


def _problem(path: Path, problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "(top)"
    return f"{path}: {key}: {problem['msg']}"


def _resolved(province: Province, path: Path) -> dict[str, Any]:
    names = ("departments", "agencies", "codes", "calendar", "sectors")
    said = {name: file for name in names if (file := getattr(province, name)) is not None}
    update: dict[str, Any] = {name: (path.parent / file).resolve() for name, file in said.items()}
    sources = {
        name: each.beside(path.parent) if isinstance(each, ProfiledSettings) else each
        for name, each in province.sources.items()
    }
    try:
        profiled_systems(sources)
    except (ProfileError, MeaningError) as error:
        raise ConfigurationError(str(error)) from None
    missing = [f"{path}: {name}: {file} does not exist" for name, file in update.items() if not file.is_file()]
    if missing:
        raise ConfigurationError("\n".join(missing))
    return update | {"sources": sources}


def _below_home(province: Province, home: Home | None) -> dict[str, Any]:
    if home is None:
        return {}
    folder = province.observations
    return {
        "sources": {name: below_home(source, home.root) for name, source in province.sources.items()},
        "observations": None if folder is None else home.root / folder,
        "receiver": province.receiver and _receiver_rooted(province.receiver, home.root),
        "catalogue": tuple(_rooted(catalogue, home.root) for catalogue in province.catalogue),
        "units": tuple(_rooted(directory, home.root) for directory in province.units),
    }


def _rooted(settings: _Settings, root: Path) -> _Settings:
    """Settings with their file below `root` where they name one."""
    return (
        settings.model_copy(update={"path": root / settings.path}) if isinstance(settings, ExportSettings) else settings
    )


def _receiver_rooted(receiver: ReceiverSettings, root: Path) -> ReceiverSettings:
    return receiver.model_copy(update={"folder": root / receiver.folder})
