"""What is really so at an instant: the state of every dossier, and the truth tables.

Belongs here: deriving status, dates, unit, payments and visible facts from the timelines, with
nothing from after the instant. Does not belong here: how a source words it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sandbox.calendar import Integers
from sandbox.population import CHANNELS, DONE, METHODS, NEVER, SERVICE_LEVELS, Flags, Population, seconds
from sandbox.territory import LEVELS

INSTANT = pa.timestamp("us", tz="UTC")
#: The steps a progress message can tell: event, national status after it.
STEPS = (
    ("received", 2),
    ("denied", 3),
    ("processed", 4),
    ("asked1", 5),
    ("answered1", 4),
    ("asked2", 5),
    ("answered2", 4),
    ("fee_asked", 6),
    ("done_early", 9),
    ("reopened", 4),
    ("ended", 0),
    ("returned", 10),
)


@dataclass(frozen=True)
class State:
    """Status and dates of some dossiers at an instant; `NEVER` for what has not happened."""

    status: Integers
    received: Integers
    denied: Integers
    due: Integers
    completed: Integers
    returned: Integers


def state_at(population: Population, at: int | Integers, rows: Integers) -> State:
    """Status and dates of `rows` as known at `at` (one instant, or one per row)."""

    def known(name: str) -> Integers:
        when = population.whole(name)[rows]
        return np.where(when <= at, when, NEVER)

    def happened(name: str) -> Flags:
        flags: Flags = known(name) < NEVER
        return flags

    completed = known("ended")
    early = happened("done_early") & ~happened("reopened")
    completed = np.where(early, known("done_early"), completed)
    due = population.whole("due0")[rows]
    for ordinal in ("1", "2"):
        due = np.where(happened(f"answered{ordinal}"), population.whole(f"due{ordinal}")[rows], due)
    return State(
        status=_status(population, rows, happened, completed),
        received=known("received"),
        denied=known("denied"),
        due=np.where(happened("received"), due, NEVER),
        completed=completed,
        returned=known("returned"),
    )


def _status(population: Population, rows: Integers, happened: Callable[[str], Flags], completed: Integers) -> Integers:
    status = np.where(happened("received"), 2, 1)
    status = np.where(happened("processed"), 4, status)
    waiting = (happened("asked1") & ~happened("answered1")) | (happened("asked2") & ~happened("answered2"))
    status = np.where(waiting, 5, status)
    status = np.where(happened("fee_asked") & ~happened("paid"), 6, status)
    status = np.where(happened("denied"), 3, status)
    outcome = np.where(happened("ended"), population.whole("outcome")[rows], DONE)
    status = np.where(completed < NEVER, outcome, status)
    return np.where(happened("returned"), 10, status).astype(np.int64)


def unit_at(population: Population, at: int, rows: Integers) -> tuple[Integers, Integers]:
    """Index of the handling unit and of its level at an instant; every source follows a hand-over."""
    handed = population.whole("handed_over")[rows] <= at
    unit = np.where(handed, population.whole("unit1")[rows], population.whole("unit0")[rows])
    level = np.where(handed, population.whole("level1")[rows], population.whole("level0")[rows])
    return unit, level


def settled_at(population: Population, at: int, rows: Integers) -> Flags:
    """Whether the fee is paid and not paid back at an instant."""
    paid: Flags = (population.whole("paid")[rows] <= at) & (population.whole("refunded")[rows] > at)
    return paid


def visible_at(population: Population, at: int) -> tuple[Flags, Flags, Flags]:
    """Which dossiers stand in the portal, in the one-stop and in the message log at an instant."""
    portal = population.flag("portal") & (population.whole("submitted") <= at)
    registered = population.whole("registered") <= at
    logged = population.flag("messages") & (population.whole("logged") <= at)
    return portal, population.flag("onestop") & registered, logged


def step_counts(population: Population, at: int, rows: Integers) -> Integers:
    """How many progress steps of each of `rows` the message log holds at an instant, its own record or not."""
    count = np.zeros(len(rows), dtype=np.int64)
    for name, _ in STEPS:
        count += population.whole(name)[rows] <= at
    return np.where(population.flag("has_steps")[rows], count, 0)


def truth_tables(population: Population, at: datetime) -> dict[str, pa.Table]:
    """Tables `dossier` and `payment` at an instant.

    A dossier that no source can show yet is not in them. What only the message log tells (digitised,
    reused, VNeID, supplements, steps) is 0 or false for a dossier outside the log, by construction; only
    steps may be told before the dossier's own message is.
    """
    now = seconds(at)
    portal, onestop, messages = visible_at(population, now)
    rows = np.flatnonzero(portal | onestop | messages)
    sources = {"in_portal": portal[rows], "in_onestop": onestop[rows], "in_messages": messages[rows]}
    dossier = pa.table(
        _identity(population, now, rows)
        | {name: pa.array(flags) for name, flags in sources.items()}
        | _handler(population, now, rows, in_messages_only=~portal[rows] & ~onestop[rows])
        | _dates(population, now, rows)
        | _papers(population, now, rows, sources)
        | _fees(population, now, rows, sources)
        | _log_only(population, now, rows, messages[rows])
    )
    return {"dossier": dossier, "payment": _payments(population, now, rows)}


def _instants(values: Integers) -> pa.Array:
    return pa.array(np.where(values < NEVER, values, 0) * 1_000_000, mask=values >= NEVER).cast(INSTANT)


def _names(names: tuple[str, ...] | list[str], index: NDArray[np.generic]) -> pa.Array:
    return pa.array(np.array(names, dtype=object)[index.astype(np.int64)], pa.string())


def _identity(population: Population, now: int, rows: Integers) -> dict[str, pa.Array]:
    code = population.columns["code"][rows]
    return {"dossier_code": pa.array(code, pa.string(), mask=population.whole("registered")[rows] > now)}


def _handler(population: Population, now: int, rows: Integers, *, in_messages_only: Flags) -> dict[str, pa.Array]:
    unit, level = unit_at(population, now, rows)
    procedure = population.whole("procedure")[rows]
    table = population.territory.procedures
    service = np.array(SERVICE_LEVELS, dtype=object)[population.whole("service")[rows]]
    return {
        "unit_code": _names([unit.code for unit in population.territory.units], unit),
        "unit_level": _names(LEVELS, level),
        "procedure_code": _names(table.procedure_code.to_list(), procedure),
        "has_fee": pa.array(table.has_fee.to_numpy(dtype=np.bool_)[procedure]),
        "is_result_required": pa.array(table.is_result_required.to_numpy(dtype=np.bool_)[procedure]),
        # Messages do not carry the service level.
        "service_level": pa.array(service, pa.string(), mask=in_messages_only),
        "channel": _names(CHANNELS, population.whole("channel")[rows]),
    }


def _dates(population: Population, now: int, rows: Integers) -> dict[str, pa.Array]:
    state = state_at(population, now, rows)
    return {
        "status_code": pa.array(state.status.astype(np.int16)),
        "submitted_at": _instants(population.whole("submitted")[rows]),
        "received_at": _instants(state.received),
        "due_at": _instants(state.due),
        "completed_at": _instants(state.completed),
        "returned_at": _instants(state.returned),
    }


def _papers(population: Population, now: int, rows: Integers, sources: dict[str, Flags]) -> dict[str, pa.Array]:
    components, attached = population.whole("components")[rows], population.whole("attached")[rows]
    # A portal lists files only: a component without one is not to be seen there. Where it lists none at
    # all, the one-stop's own list is the next to speak.
    by_files = sources["in_portal"] & ~sources["in_messages"] & ~(sources["in_onestop"] & (attached == 0))
    logged = sources["in_messages"]
    result = (population.whole("result")[rows] <= now) & (sources["in_portal"] | logged)
    return {
        "component_count": pa.array(np.where(by_files, attached, components)),
        "component_attached": pa.array(attached),
        "component_digitised": pa.array(np.where(logged, population.whole("digitised")[rows], 0)),
        "component_reused": pa.array(np.where(logged, population.whole("reused")[rows], 0)),
        "electronic_result": pa.array(result),
    }


def _fees(population: Population, now: int, rows: Integers, sources: dict[str, Flags]) -> dict[str, pa.Array]:
    lines = population.whole("lines")[rows]
    # A portal shows one payment for all lines.
    lines = np.where(sources["in_onestop"] | sources["in_messages"], lines, np.minimum(lines, 1))
    settled = settled_at(population, now, rows)
    transactions = np.where(settled, _positive_lines(population, rows), 0)
    transactions = np.where(sources["in_onestop"], transactions, np.minimum(transactions, 1))
    online = population.whole("method")[rows] == 0
    return {
        "fee_line_count": pa.array(lines),
        "fee_waived": pa.array(population.flag("waived")[rows]),
        "paid_online": pa.array(settled & online),
        "transaction_count": pa.array(transactions),
        "online_transaction_count": pa.array(np.where(online, transactions, 0)),
        "paid_at": _instants(np.where(settled, population.whole("paid")[rows], NEVER)),
    }


def _positive_lines(population: Population, rows: Integers) -> Integers:
    first, second = (population.whole(name)[rows] > 0 for name in ("amount1", "amount2"))
    return first.astype(np.int64) + second


def _log_only(population: Population, now: int, rows: Integers, logged: Flags) -> dict[str, pa.Array]:
    supplements = sum((population.whole(name)[rows] <= now).astype(np.int64) for name in ("asked1", "asked2"))
    return {
        "vneid_verified": pa.array(population.flag("vneid")[rows] & logged),
        "supplement_count": pa.array(np.where(logged, supplements, 0)),
        "step_count": pa.array(step_counts(population, now, rows)),
    }


def _payments(population: Population, now: int, rows: Integers) -> pa.Table:
    """One row per settled transaction: each fee line with an amount."""
    paid = rows[settled_at(population, now, rows)]
    parts = []
    for name in ("amount1", "amount2"):
        amount = population.whole(name)[paid]
        kept = paid[amount > 0]
        parts.append(
            pa.table(
                {
                    "dossier_code": pa.array(population.columns["code"][kept], pa.string()),
                    "amount_vnd": pa.array(amount[amount > 0]),
                    "method": _names(METHODS, population.whole("method")[kept]),
                    "paid_at": _instants(population.whole("paid")[kept]),
                }
            )
        )
    return pa.concat_tables(parts).sort_by([("dossier_code", "ascending"), ("amount_vnd", "descending")])
