"""Reaching what is read beside the sources: catalogues, directories of units, and systems that state observations.

Belongs here: the smallest call of each, and which key is at fault. Does not belong here: the sources
(`assets.raw.extraction.probe`), or what is read in a night.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from contextlib import aclosing

import pyarrow as pa
from pydantic import BaseModel

from assets.raw.extraction import UnreachableSource
from assets.raw.kinds import kind_of
from connectors.catalogue import CatalogueServiceSettings, CatalogueWalk, connect
from connectors.catalogue_files import CatalogueFileSettings, read_file
from connectors.loop import Loop, light_sender
from connectors.observations import ObservationApiSettings, ObservationWalk
from connectors.protocol import SourceError, Step, Walk
from connectors.settings import HttpManners, MissingSecret, secret
from connectors.sources import SourceSettings
from connectors.units import UnitFileSettings, UnitSettings, directory_of
from expectations.wording import count_vi

#: Tries of a call: who waits at a terminal is told soon.
_ATTEMPTS = 2


def reach_catalogue(key: str, settings: CatalogueServiceSettings | CatalogueFileSettings) -> str:
    """Log in and ask for the list of procedures, or read the file. `UnreachableSource` names the key below `key`."""
    if isinstance(settings, CatalogueFileSettings):
        return _told(key, settings, _file(settings))
    return _told(key, settings, _service(settings.model_copy(update={"manners": _hasty(settings.manners)})))


def reach_units(key: str, settings: UnitSettings, *, places: Collection[str]) -> str:
    """Read the directory whole: it is one answer, or a file. `UnreachableSource` names the key below `key`."""
    if not isinstance(settings, UnitFileSettings):
        settings = settings.model_copy(update={"manners": _hasty(settings.manners)})
    return _told(key, settings, _directory(settings, places))


def reach_observations(key: str, settings: ObservationApiSettings) -> str:
    """Ask for the first page. `UnreachableSource` names the key below `key`."""
    return _told(key, settings, _first_page(settings.model_copy(update={"manners": _hasty(settings.manners)})))


def has_sample(settings: SourceSettings) -> bool:
    """Whether a source of this kind can give a sample of its mapped records."""
    return kind_of(settings).sample is not None


def reach_sample(name: str, settings: SourceSettings, limit: int) -> pa.Table:
    """Up to `limit` mapped records of a profiled source. `UnreachableSource` names the key at fault."""
    take = kind_of(settings).sample
    if take is None:
        raise UnreachableSource(f"sources.{name}: no sample can be taken of this kind of source")
    try:
        return take(settings, limit)
    except MissingSecret as error:
        names = (key for key in type(settings).model_fields if getattr(settings, key) == error.variable)
        raise UnreachableSource(f"sources.{name}.{next(names)}: {error}") from None
    except SourceError as error:
        raise UnreachableSource(f"sources.{name}.{error.key}: {error}") from None


def _told(key: str, settings: BaseModel, asking: Awaitable[str]) -> str:
    async def ask() -> str:
        """The awaitable as the coroutine that `asyncio.run` wants."""
        return await asking

    try:
        return asyncio.run(ask())
    except MissingSecret as error:
        names = (name for name in type(settings).model_fields if getattr(settings, name) == error.variable)
        raise UnreachableSource(f"{key}.{next(names)}: {error}") from None
    except SourceError as error:
        raise UnreachableSource(f"{key}.{_key_of(error, settings)}: {error}") from None


def _key_of(error: SourceError, settings: BaseModel) -> str:
    """The key that the error suspects; what an address is called differs."""
    return "url" if error.key == "base_url" and "url" in type(settings).model_fields else error.key


def _hasty(manners: HttpManners) -> HttpManners:
    return manners.model_copy(update={"attempts": _ATTEMPTS, "patience_minutes": 0})


async def _file(settings: CatalogueFileSettings) -> str:
    found = read_file(settings)
    broken = f", {count_vi(len(found.broken))} dòng không dùng được" if found.broken else ""
    return f"{count_vi(found.procedures.num_rows)} thủ tục trong {settings.path}{broken}"


async def _service(settings: CatalogueServiceSettings) -> str:
    async with connect(settings) as service:
        walk = CatalogueWalk(settings.share_endpoint)
        await _first(service.loop, walk)
    return f"đã đăng nhập, danh sách có {count_vi(walk.listed)} mã thủ tục"


async def _directory(settings: UnitSettings, places: Collection[str]) -> str:
    found = await directory_of(settings, places=places)
    broken = f", {count_vi(len(found.broken))} dòng không dùng được" if found.broken else ""
    return f"{count_vi(len(found.agencies))} mã đơn vị của nguồn {settings.source}{broken}"


async def _first_page(settings: ObservationApiSettings) -> str:
    walk = ObservationWalk(settings)
    headers = {"Accept": "application/json"}
    if settings.token_env:
        headers["Authorization"] = f"Bearer {secret(settings.token_env)}"
    async with light_sender(walk.origin, settings.manners, headers=headers) as send:
        step = await _first(Loop.over(send, settings.manners), walk)
    return f"{count_vi(len(step.records))} quan sát trong trang đầu"


async def _first(loop: Loop, walk: Walk) -> Step:
    """The first step alone; what it asks for next is not asked."""
    async with aclosing(loop.run(walk)) as steps:  # type: ignore[type-var]  # an async generator, typed as iterator
        return await anext(steps)
