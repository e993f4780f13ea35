"""Records that no reader can accept, beside the dossiers: so that a newcomer sees quarantine at work.

Belongs here: which field is broken in which way, and what a reader is expected to say of it. Does not
belong here: rendering (each source patches a copy of one of its own records).

A broken record is a copy of a dossier's record under identifiers of its own, with one field that has
no meaning or cannot be read. It is no dossier: truth does not count it, `truth/broken.json` lists it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np

from sandbox.calendar import VIETNAM_SECONDS, Integers
from sandbox.population import DEFAULT_CLOCK, NEVER, PLAIN, Population, seconds

Source = Literal["portal", "onestop", "messages"]
_UNKNOWN_PROCEDURE = "9.999999"
_LATEST_DAYS = 60


@dataclass(frozen=True)
class Breakage:
    """One way to break a record: the field, what it says, where and why a reader sets the record aside."""

    source: Source
    field: str
    said: Any
    stage: Literal["extract", "conform"]
    reason: str


BREAKAGES = (
    Breakage("onestop", "dossierStatus", {"id": 99, "name": "Chờ ký số"}, "conform", "unmapped_status"),
    Breakage("portal", "serviceCode", _UNKNOWN_PROCEDURE, "conform", "unknown_procedure"),
    Breakage("messages", "NgayTiepNhan", "20260231080000", "extract", "NgayTiepNhan_readable"),
    Breakage("portal", "dossierStatus", "signing", "conform", "unmapped_status"),
    Breakage("messages", "MaTTHC", _UNKNOWN_PROCEDURE, "conform", "unknown_procedure"),
    Breakage("onestop", "acceptedDate", "31/02/2026 08:00", "extract", "acceptedDate_readable"),
    Breakage("messages", "TrangThaiHoSo", "11", "conform", "unmapped_status"),
    Breakage(
        "onestop", "procedure", {"id": "0", "code": _UNKNOWN_PROCEDURE, "translate": {"name": ""}}, "conform",
        "unknown_procedure",
    ),
    Breakage("portal", "receiveDate", "31/02/2026 08:00:00", "extract", "receiveDate_readable"),
)  # fmt: skip


@dataclass(frozen=True)
class BrokenRecord:
    """One broken record: the dossier row it is a copy of, and the identifiers of its own."""

    breakage: Breakage
    row: int
    code: str
    #: 24 hexadecimal digits: the one-stop's id, and what the portal's referenceUid is made of.
    identity: str

    def patched(self, record: bytes | str, identifiers: Mapping[str, str]) -> str:
        """A source's own record of the row, with the identifiers and the break put in."""
        changes = {**identifiers, self.breakage.field: self.breakage.said}
        return json.dumps({**json.loads(record), **changes}, ensure_ascii=False, separators=(",", ":"))

    def told(self, record_key: str) -> dict[str, Any]:
        """What truth/broken.json says of it."""
        broken = self.breakage
        return {
            "source": broken.source,
            "record_key": record_key,
            "code": self.code,
            "field": broken.field,
            "said": broken.said,
            "stage": broken.stage,
            "reason": broken.reason,
        }


def broken_records(population: Population, count: int) -> tuple[BrokenRecord, ...]:
    """`count` broken records, the ways of breaking in turn; copies of dossiers of the last weeks at the default clock.

    Fewer when the province is too small to have a dossier to copy in each source.
    """
    made = []
    for number in range(count):
        breakage = BREAKAGES[number % len(BREAKAGES)]
        rows = _candidates(population, breakage.source)
        if len(rows):
            made.append(_broken(population, breakage, int(rows[number * 7919 % len(rows)]), number))
    return tuple(made)


def _candidates(population: Population, source: Source) -> Integers:
    """Received dossiers of a source under one code, of the last weeks if there are any."""
    clock = seconds(DEFAULT_CLOCK)
    received = population.whole("received")
    good = population.flag(source) & (population.whole("identity") == PLAIN) & (population.whole("denied") == NEVER)
    good &= (received < clock) & (population.whole("logged") < clock)
    latest = good & (received >= seconds(DEFAULT_CLOCK - timedelta(days=_LATEST_DAYS)))
    return np.flatnonzero(latest if latest.any() else good)


def _broken(population: Population, breakage: Breakage, row: int, number: int) -> BrokenRecord:
    day = np.datetime64(int(population.whole("received")[row]) + VIETNAM_SECONDS, "s").astype("datetime64[D]")
    # No unit of the province has this agency code: the code can be no dossier's.
    code = f"000.99.99.H15-{str(day).replace('-', '')[2:]}-{number + 1:04d}"
    return BrokenRecord(breakage, row, code, f"b{number:023x}")
