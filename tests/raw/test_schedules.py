"""Seeded schedules: provinces that change while they are read, and fail, for several nights; then all is equal.

What happens is drawn from a seed: dossiers come, change, are reopened and deleted between any two replies of a
running extraction; commits come late with an older time; the index falls behind; replies fail in every known
way; our clock and the source's differ; nights are missed. Then nothing happens any more, and after as many
nights as a full comparison takes the stored records must be the source's, each in its newest version.

The expected side is read from the sandbox's own state, never through a connector.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import stamina

from assets.raw.extraction import SourceCount, extract
from assets.raw.tables import RAW_ONESTOP, RAW_PORTAL
from connectors import igate, opencps
from connectors.loop import Loop
from connectors.protocol import Call, Reply, SourceError, Transient
from connectors.settings import IGateSettings, OpenCpsSettings
from connectors.sources import SourceSettings
from sandbox.population import NEVER, STARTS_AT, VIETNAM, Population, build_population
from sandbox.unrest import ConnectionLost, RestlessProvince, Unrest
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.schema import Table

DAY = timedelta(days=1)
#: Schedules of the default suite, and of the slow one.
FEW, MANY = range(3), range(3, 3 + int(os.environ.get("THUOCDO_SCHEDULES", "200")))
HASTE = 12
_MANNERS = {"requests_per_second": 1_000_000, "concurrency": 4}
_TABLES: dict[str, Table] = {"portal": RAW_PORTAL, "onestop": RAW_ONESTOP}


@cache
def population_of(seed: int) -> Population:
    """Some 300 dossiers of three years in as many months, every sixth of which is deleted at some time.

    What another system says of a deleted dossier is of no matter here: only raw records are compared.
    """
    population = build_population(300, seed=seed)
    columns = {name: _hastened(values) for name, values in population.columns.items()}
    drawn = np.random.default_rng([seed, 5])
    count = len(population)
    wait = np.where(drawn.random(count) < 0.5, 86_400, 30 * 86_400) * drawn.random(count)
    deleted = np.where(drawn.random(count) < 1 / 6, columns["submitted"] + wait.astype(np.int64), NEVER)
    again = np.where(drawn.random(count) < 0.5, 0, drawn.integers(1, 5 * 86_400, count))
    erased = np.where((deleted < NEVER) & (drawn.random(count) < 0.6), deleted + again, NEVER)
    return Population(seed=seed, columns={**columns, "deleted": deleted, "erased": erased})


def _hastened(values: Any) -> Any:
    """Instants twelve times as close together; numbers that are no instants as they are."""
    if values.dtype != np.int64:
        return values
    begin = int(STARTS_AT.timestamp())
    is_instant = (values > 1_600_000_000) & (values < 2_200_000_000)
    return np.where(is_instant, begin + (values - begin) // HASTE, values)


@cache
def busiest_sites(seed: int) -> tuple[int, ...]:
    """The four sites of the portal with the most dossiers; the others are nobody's here."""
    index = RestlessProvince(population_of(seed), 0, 0).portal
    sites, counts = np.unique(index.site, return_counts=True)
    return tuple(int(site) for site in sites[np.argsort(-counts, kind="stable")][:4])


@dataclass
class Schedule:
    """One home and one province, both drawn from a seed; `run` is a night, `now` is our clock."""

    seed: int
    root: Path
    province: RestlessProvince = field(init=False)
    skipped: int = 0

    def __post_init__(self) -> None:
        drawn = self.drawn = np.random.default_rng([self.seed, 4])
        number = self.seed % 4
        begin = STARTS_AT + timedelta(hours=int(drawn.integers(24 * 20, 24 * 70)))
        zone = int(drawn.choice([0, 7]))
        self.province = RestlessProvince(population_of(number), int(begin.timestamp()), self.seed, zone)
        self.start = begin - int(drawn.integers(5, 60)) * DAY
        self.skew = timedelta(minutes=int(drawn.integers(-90, 91)))
        self.full_days = int(drawn.integers(1, 3))
        self.sources = self._sources(busiest_sites(number))
        self.lake, self.database = Lake(f"{self.root}/lake"), Database.open(f"sqlite:///{self.root / 'd.db'}")
        self.counts: list[SourceCount] = []

    def _sources(self, sites: tuple[int, ...]) -> dict[str, SourceSettings]:
        rows = int(self.drawn.integers(2, 8))
        both = {"full_comparison_days": self.full_days, "page_rows": rows, "manners": _MANNERS, "confirmations": 50}
        portal = {"kind": "opencps", "base_url": "http://p.invalid", "username_env": "P_U", "password_env": "P_P"}
        onestop = {"kind": "igate", "base_url": "http://o.invalid", "token_url": "http://o.invalid/token"}
        secrets = {"client_id_env": "O_I", "client_secret_env": "O_S"}
        return {
            "portal": OpenCpsSettings.model_validate({**portal, **both, "sites": list(sites)}),
            "onestop": IGateSettings.model_validate({**onestop, **both, **secrets}),
        }

    @property
    def clock(self) -> datetime:
        """What the source's clock says."""
        return datetime.fromtimestamp(self.province.at, UTC)

    def run(self, name: str, *, now: datetime) -> None:
        """One night over both sources; one that says it could not read is left to the next."""
        for source, settings in self.sources.items():
            with answering(self.province):
                try:
                    self.counts += extract(
                        source,
                        settings,
                        window=(self.start if not self.database.cursors().get(source) else now - DAY, now),
                        lake=self.lake,
                        database=self.database,
                        night=name,
                        now=now,
                    )
                except SourceError:
                    self.skipped += 1

    def restless_nights(self) -> None:
        """Two or three nights, some days apart, during each of which hours or days pass at the source."""
        drawn = self.drawn
        for number in range(int(drawn.integers(2, 4))):
            self.province.unrest = Unrest(
                moves=float(drawn.uniform(0.0, 0.1)),
                step=int(drawn.choice([600, 4 * 3600, 24 * 3600])),
                late=float(drawn.choice([0.0, 0.3])),
                lag=float(drawn.choice([0.0, 0.5])),
                spoilt=float(drawn.choice([0.0, 0.02, 0.06])),
            )
            self.run(f"n{number}", now=self.clock + self.skew)
            self.province.advance(self.province.at + int(drawn.integers(1, 6 * 86_400)))

    def quiet_nights(self) -> None:
        """Nothing happens any more; as many nights as a full comparison takes, after one that may be the first load."""
        self.province.settle()
        for number in range(self.full_days + 1):
            self.run(f"q{number}", now=self.clock + timedelta(hours=2) + number * DAY)


@contextmanager
def answering(province: RestlessProvince) -> Iterator[None]:
    """Both connectors speak with the province in place of servers."""

    async def ask_portal(call: Call) -> Reply:
        site = int(dict(call.headers)["groupId"])
        return _reply(call, lambda: province.portal_reply(call.path, dict(call.params), site))

    async def ask_onestop(call: Call) -> Reply:
        return _reply(call, lambda: province.onestop_reply(call.path, dict(call.params)))

    @asynccontextmanager
    async def portal(settings: Any, store: Any, *, positions: Any) -> AsyncIterator[opencps.Portal]:
        yield opencps.Portal(settings, Loop.over(ask_portal, settings.manners), store, positions)

    @asynccontextmanager
    async def onestop(settings: Any, *, known: int, positions: Any) -> AsyncIterator[igate.OneStop]:
        yield igate.OneStop(settings, Loop.over(ask_onestop, settings.manners), known, positions)

    with (
        mock.patch.object(opencps, "connect", portal),
        mock.patch.object(igate, "connect", onestop),
        stamina.set_testing(True, attempts=8),
    ):
        yield


def _reply(call: Call, ask: Any) -> Reply:
    try:
        status, body = ask()
    except ConnectionLost:
        raise Transient(f"{call}: the connection was lost") from None
    return Reply(status, {}, body)


def newest(lake: Lake, table: Table) -> dict[str, dict[str, Any]]:
    """The newest version of every record that is no tombstone."""
    rows = lake.read(table).sort_by([("record_key", "ascending"), ("extracted_at", "ascending")]).to_pylist()
    return {key: row for key, row in {row["record_key"]: row for row in rows}.items() if not row["is_gone"]}


def true_portal(province: RestlessProvince, sites: list[int]) -> dict[str, dict[str, Any]]:
    """Every dossier that the portal's sites really have: no ghost, not deleted."""
    index, found = province.portal, {}
    for position in np.flatnonzero((index.columns["visible"] > 0) & (index.ghost < 0)).tolist():
        record = json.loads(index.records[position])
        if int(record["originality"]) > 0 and record["groupId"] in sites:
            record["files"] = sorted(each["dossierFileId"] for each in json.loads(index.files(position))["data"])
            record["paid"] = json.loads(index.payment(position)).get("paymentStatus")
            found[f"{record['groupId']}:{record['dossierId']}"] = record
    return found


def true_onestop(province: RestlessProvince) -> dict[str, dict[str, Any]]:
    """Every dossier that the one-stop really has."""
    index = province.onestop
    items = [json.loads(index.items[position]) for position in index.newest_first]
    for item in items:
        item["paid"] = sum(json.loads(line)["paid"] for line in index.fees(item["id"]))
    return {item["id"]: item for item in items}


_SAID = ("dossierNo", "modifiedDate", "submitDate", "receiveDate", "releaseDate", "finishDate", "dossierStatus")


def assert_portal(schedule: Schedule) -> None:
    stored = newest(schedule.lake, RAW_PORTAL)
    true = true_portal(schedule.province, list(schedule.sources["portal"].sites))  # type: ignore[union-attr]
    assert stored.keys() <= true.keys(), f"still stored, but gone: {sorted(stored.keys() - true.keys())}"
    asked = {key for key, record in true.items() if _day(record["submitDate"]) >= schedule.start}
    assert asked <= stored.keys(), f"lost: {sorted(asked - stored.keys())}"
    for key, row in stored.items():
        assert {name: row[name] for name in _SAID} == {name: true[key][name] for name in _SAID}, key
        assert sorted(each["dossierFileId"] for each in row["files"]) == true[key]["files"], key
        assert (row["payment"] or {}).get("paymentStatus") == true[key]["paid"], key


def assert_onestop(schedule: Schedule) -> None:
    stored, true = newest(schedule.lake, RAW_ONESTOP), true_onestop(schedule.province)
    assert stored.keys() <= true.keys(), f"still stored, but gone: {sorted(stored.keys() - true.keys())}"
    asked = {key for key, item in true.items() if datetime.fromisoformat(item["updatedDate"]) >= schedule.start}
    assert asked <= stored.keys(), f"lost: {sorted(asked - stored.keys())}"
    for key, row in stored.items():
        status = true[key]["dossierStatus"]
        assert row["dossierStatusId"] == (status["id"] if isinstance(status, dict) else status), key
        assert row["updatedDate"] == true[key]["updatedDate"], key
        assert sum(fee["paid"] for fee in row["fees"]) == true[key]["paid"], key


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%d/%m/%Y %H:%M:%S").replace(tzinfo=VIETNAM)


def assert_accounts(schedule: Schedule) -> None:
    """What a night says it stored and buried is what the lake holds of it; a record is never stored twice in a row."""
    for source, table in _TABLES.items():
        rows = schedule.lake.read(table)
        counts = [count for count in schedule.counts if count.source == source]
        for count in counts:
            assert count.rows_read == count.rows_stored + count.rows_unchanged + count.rows_quarantined
        stored, gone = sum(count.rows_stored for count in counts), sum(count.rows_gone for count in counts)
        tombs = rows["is_gone"].to_pylist().count(True)
        # A night that failed stores what it had read, but counts nothing.
        assert (stored, gone) == (rows.num_rows - tombs, tombs) or (
            schedule.skipped and stored <= rows.num_rows - tombs and gone <= tombs
        )
        assert_versions_differ(rows)


def assert_versions_differ(rows: pa.Table) -> None:
    ordered = rows.select(["record_key", "extracted_at", "content_hash"]).sort_by(
        [("record_key", "ascending"), ("extracted_at", "ascending")]
    )
    pairs = list(zip(ordered["record_key"].to_pylist(), ordered["content_hash"].to_pylist(), strict=True))
    assert all(one != other for one, other in pairwise(pairs))


def _assert_equal_in_the_end(seed: int, root: Path) -> None:
    schedule = Schedule(seed, root)
    schedule.restless_nights()
    schedule.quiet_nights()
    assert_portal(schedule)
    assert_onestop(schedule)
    assert_accounts(schedule)
    before = {name: schedule.lake.version(table) for name, table in _TABLES.items()}
    schedule.run("again", now=schedule.clock + timedelta(hours=3) + (schedule.full_days + 2) * DAY)
    assert before == {name: schedule.lake.version(table) for name, table in _TABLES.items()}


@pytest.mark.parametrize("seed", FEW)
def test_whatever_happens_in_the_end_everything_is_equal(seed: int, tmp_path: Path) -> None:
    _assert_equal_in_the_end(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_whatever_happens_in_hundreds_of_schedules(seed: int, tmp_path: Path) -> None:
    _assert_equal_in_the_end(seed, tmp_path)
