"""Sources that change while they are read: whatever happens between two pages, nothing that was there is lost.

Property tests, because the interesting orders of pages and changes are not those one thinks of. The
servers are functions behind the real loop and the real door, so that hundreds of nights take seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
import stamina
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.raw.extraction import SourceCount, extract
from assets.raw.tables import RAW_ONESTOP, RAW_PORTAL
from connectors import igate, opencps
from connectors.loop import Loop
from connectors.protocol import Call, Reply, SourceError
from connectors.sources import SourceSettings
from tests.connectors.test_igate import settings as onestop_settings
from tests.connectors.test_opencps import asked
from tests.connectors.test_opencps import settings as portal_settings
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.schema import Table

NOW = datetime(2026, 10, 8, tzinfo=UTC)
START = datetime(2026, 10, 5, tzinfo=UTC)
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Respond = Callable[[Call], Reply]


def json_reply(content: Any) -> Reply:
    return Reply(200, {}, msgspec.json.encode(content))


@contextmanager
def answering(respond: Respond) -> Iterator[None]:
    """Both connectors speak with `respond` in place of a server."""

    async def send(call: Call) -> Reply:
        return respond(call)

    @asynccontextmanager
    async def portal(configured: Any, store: Any, *, positions: Any) -> AsyncIterator[opencps.Portal]:
        yield opencps.Portal(configured, Loop.over(send, configured.manners), store, positions)

    @asynccontextmanager
    async def onestop(configured: Any, *, known: int, positions: Any) -> AsyncIterator[igate.OneStop]:
        yield igate.OneStop(configured, Loop.over(send, configured.manners), known, positions)

    with (
        mock.patch.object(opencps, "connect", portal),
        mock.patch.object(igate, "connect", onestop),
        stamina.set_testing(True, attempts=1),
    ):
        yield


class Nights:
    """A home in a folder of its own; `run` is one night."""

    def __init__(self, root: str, name: str, configured: SourceSettings, table: Table) -> None:
        self.lake, self.database = Lake(f"{root}/lake"), Database.open(f"sqlite:///{Path(root) / 'd.db'}")
        self.name, self.configured, self.table = name, configured, table
        self.nights = 0

    def run(self, respond: Respond) -> SourceCount:
        self.nights += 1
        at = NOW + timedelta(hours=self.nights)
        with answering(respond):
            return extract(
                self.name,
                self.configured,
                window=(START, at),
                lake=self.lake,
                database=self.database,
                night=f"n{self.nights}",
                now=at,
            )[0]

    def newest(self, key: str, version: str) -> dict[str, Any]:
        rows = self.lake.read(self.table).sort_by("extracted_at").to_pylist()
        return {str(row[key]): row[version] for row in rows}


class ChangingPortal:
    """One site, one day; before each page of the list the next change happens."""

    def __init__(self, count: int, changes: list[tuple[str, int]]) -> None:
        self.versions = dict.fromkeys(range(1, count + 1), 1)
        self.order = list(self.versions)
        self.changes = changes

    def __call__(self, call: Call) -> Reply:
        if call.path != "/dossiers":
            return json_reply({})
        query = asked(call)
        if "fromSubmitDate" not in query or "fromReleaseDate" in query or "fromFinishDate" in query:
            return json_reply({"total": 0, "data": []})
        if self.changes:
            self._change(*self.changes.pop(0))
        days = [datetime.strptime(query[f"{end}SubmitDate"], "%d/%m/%Y").date().day for end in ("from", "to")]  # noqa: DTZ007
        rows = self.order if days[0] <= 6 <= days[1] else []
        shown = rows[int(query["start"]) : int(query["end"])]
        return json_reply({"total": len(rows), "data": [self._dossier(number) for number in shown]})

    def _change(self, kind: str, which: int) -> None:
        if kind == "insert":
            self.versions[len(self.versions) + 1] = 1
            self.order.insert(which % (len(self.order) + 1), len(self.versions))
        elif kind == "update" and self.order:
            self.versions[self.order[which % len(self.order)]] += 1
        elif kind == "shuffle" and self.order:
            turn = which % len(self.order)
            self.order = self.order[turn:] + self.order[:turn]

    def _dossier(self, number: int) -> dict[str, Any]:
        version = self.versions[number]
        return {
            "dossierId": number,
            "serviceCode": "1.001612",
            "govAgencyCode": "H15.1",
            "dossierStatus": "receiving",
            "dossierSubStatus": str(version),
            "submitDate": "06/10/2026 08:00:00",
            "modifiedDate": f"06/10/2026 08:{version:02d}:00",
            "applicantName": "NGUYỄN VĂN A",
        }


CHANGES = st.lists(st.tuples(st.sampled_from(["none", "insert", "update", "shuffle"]), st.integers(0, 20)), max_size=12)


@pytest.mark.slow
@FEW
@given(count=st.integers(0, 7), page_rows=st.integers(1, 4), changes=CHANGES)
def test_a_portal_that_changes_between_pages(count: int, page_rows: int, changes: list[tuple[str, int]]) -> None:
    portal = ChangingPortal(count, list(changes))
    with tempfile.TemporaryDirectory() as root:
        nights = Nights(root, "portal", portal_settings(page_rows=page_rows), RAW_PORTAL)
        try:
            first = nights.run(portal)
        except SourceError:
            pass  # said that it could not read completely, instead of leaving something out
        else:
            assert first.rows_read == first.rows_stored + first.rows_unchanged + first.rows_quarantined
            assert set(nights.newest("dossierId", "dossierSubStatus")) >= {
                str(number) for number in range(1, count + 1)
            }
        portal.changes.clear()
        nights.run(portal)
        assert nights.newest("dossierId", "dossierSubStatus") == {str(n): str(v) for n, v in portal.versions.items()}
        assert nights.run(portal).rows_stored == 0


class ChangingOneStop:
    """Newest change first; before each page the next change happens, at a later minute."""

    def __init__(self, count: int, changes: list[tuple[str, int]], *, counted: bool) -> None:
        self.rows = [(f"d{number}", 1, START + timedelta(minutes=number)) for number in range(count, 0, -1)]
        self.changes, self.counted = changes, counted
        self.minute = count

    def __call__(self, call: Call) -> Reply:
        if "dossier-ids" in asked(call):
            return json_reply([])
        if self.changes:
            self._change(*self.changes.pop(0))
        page, size = int(asked(call)["page"]), int(asked(call)["size"])
        shown = self.rows[page * size : (page + 1) * size]
        totals = {"totalElements": len(self.rows), "totalPages": -(-len(self.rows) // size)} if self.counted else {}
        last = (page + 1) * size >= len(self.rows)
        return json_reply({"content": [self._item(*row) for row in shown], "last": last, **totals})

    def _change(self, kind: str, which: int) -> None:
        self.minute += 1
        at = START + timedelta(minutes=self.minute)
        if kind == "insert":
            self.rows.insert(0, (f"new{self.minute}", 1, at))
        elif kind == "update" and self.rows:
            name, version, _ = self.rows.pop(which % len(self.rows))
            self.rows.insert(0, (name, version + 1, at))
        elif kind == "delete" and self.rows:
            self.rows.pop(which % len(self.rows))

    @staticmethod
    def _item(name: str, version: int, at: datetime) -> dict[str, Any]:
        return {
            "id": name,
            "dossierStatus": version if version % 2 else {"id": version, "name": "Đang xử lý"},
            "procedure": {"code": "1.001612"},
            "agency": {"code": "H15.1"},
            "appliedDate": "2026-10-05T08:00:00.000+0700",
            "updatedDate": at.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
            "applicant": {"data": {"fullname": "Nguyễn Văn A"}},
        }


MOVES = st.lists(st.tuples(st.sampled_from(["none", "insert", "update", "delete"]), st.integers(0, 20)), max_size=12)


@pytest.mark.slow
@FEW
@given(count=st.integers(1, 7), page_rows=st.integers(1, 4), moves=MOVES, counted=st.booleans())
def test_a_one_stop_system_that_changes_between_pages(
    count: int, page_rows: int, moves: list[tuple[str, int]], *, counted: bool
) -> None:
    onestop = ChangingOneStop(count, list(moves), counted=counted)
    quiet = {name for name, _, _ in onestop.rows}
    with tempfile.TemporaryDirectory() as root:
        nights = Nights(root, "onestop", onestop_settings(page_rows=page_rows), RAW_ONESTOP)
        try:
            first = nights.run(onestop)
        except SourceError:
            pass  # as above
        else:
            assert first.rows_read == first.rows_stored + first.rows_unchanged + first.rows_quarantined
            untouched = {name for name, version, _ in onestop.rows if version == 1} & quiet
            assert set(nights.newest("id", "dossierStatusId")) >= untouched
        onestop.changes.clear()
        if onestop.rows:
            nights.run(onestop)
            stored = nights.newest("id", "dossierStatusId")
            assert {name: stored[name] for name, _, _ in onestop.rows} == {
                name: version for name, version, _ in onestop.rows
            }
            assert nights.run(onestop).rows_stored == 0
