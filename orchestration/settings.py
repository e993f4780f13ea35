"""Where state lives and which province is measured.

Belongs here: reading the environment (THUOCDO_HOME and its two overrides) and a province's YAML
file, and saying in plain words which key is wrong. Does not belong here: anything that opens a
connection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlparse

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.settings import MessageLogSettings, SourceSettings

DEFAULT_HOME = ".thuocdo"
DEFAULT_PROVINCE = "provinces/dak-lak.yaml"


class ConfigurationError(ValueError):
    """The configuration cannot be used; the text names the file and the key, one problem per line."""


@dataclass(frozen=True)
class Home:
    """Where everything that is kept lives.

    `root` comes from THUOCDO_HOME; its two halves, the SQL database and the storage of the lake and
    the publications, can be moved with THUOCDO_DATABASE_URL and THUOCDO_STORAGE_URL.
    """

    root: Path
    database_url: str
    storage: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Home:
        """Read the three variables; a storage URL other than a folder is refused by name."""
        root = Path(environment.get("THUOCDO_HOME") or DEFAULT_HOME).expanduser().resolve()
        database = environment.get("THUOCDO_DATABASE_URL") or f"sqlite:///{root / 'thuocdo.db'}"
        return cls(root=root, database_url=database, storage=_folder(environment.get("THUOCDO_STORAGE_URL"), root))

    @property
    def lake(self) -> str:
        """Root of the Delta tables."""
        return str(self.storage / "lake")

    @property
    def published(self) -> Path:
        """What BI tools read; always a whole publication."""
        return self.storage / "published"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"


def _folder(url: str | None, root: Path) -> Path:
    if not url:
        return root
    parsed = urlparse(url)
    if parsed.scheme not in ("", "file"):
        raise ConfigurationError(
            f"THUOCDO_STORAGE_URL: {parsed.scheme}:// storage is not supported yet; give a folder or a file:// URL"
        )
    return Path(parsed.path).expanduser().resolve()


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
    #: Which target sets apply, by file name under expectations/targets/.
    targets: list[str]
    #: Counts below this are not judged (verdict too_few).
    minimum_denominator: Annotated[int, Field(ge=0)] = 0
    sources: Annotated[dict[str, SourceSettings], Field(min_length=1)]


def load_province(path: Path, *, home: Home | None = None) -> Province:
    """Read and validate one province file; paths in it are relative to the file.

    With `home`, the folder of a message log that is relative is resolved below the home's root.
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
    return province.model_copy(update=_resolved(province, path) | _below_home(province, home))


def province_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The province file that THUOCDO_PROVINCE names, the sandbox's by default."""
    return Path(environment.get("THUOCDO_PROVINCE") or DEFAULT_PROVINCE)


def _problem(path: Path, problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "(top)"
    return f"{path}: {key}: {problem['msg']}"


def _resolved(province: Province, path: Path) -> dict[str, Any]:
    names = ("departments", "agencies", "codes")
    update: dict[str, Any] = {name: (path.parent / getattr(province, name)).resolve() for name in names}
    missing = [f"{path}: {name}: {file} does not exist" for name, file in update.items() if not file.is_file()]
    if missing:
        raise ConfigurationError("\n".join(missing))
    return update


def _below_home(province: Province, home: Home | None) -> dict[str, Any]:
    if home is None:
        return {}
    return {"sources": {name: _rooted(source, home.root) for name, source in province.sources.items()}}


def _rooted(source: SourceSettings, root: Path) -> SourceSettings:
    if not isinstance(source, MessageLogSettings):
        return source
    return source.model_copy(update={"folder": root / source.folder})
