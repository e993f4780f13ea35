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

from sandbox.calendar import (
    CLOSING_SECOND,
    OFFICE_SECONDS,
    Integers,
    instant,
    local_day,
    months_later,
    working_calendar,
)
from sandbox.codes import MESSAGE_DATABASES
from sandbox.population import (
    CHANNELS,
    DATABASES,
    DONE,
    METHODS,
    NEVER,
    REORGANISED_AT,
    SERVICE_LEVELS,
    STOPPED,
    WITHDRAWN,
    Flags,
    Population,
    seconds,
    split_communes,
)
from sandbox.territory import LEVELS

INSTANT = pa.timestamp("us", tz="UTC")
MICROSECONDS = 1_000_000
#: Codes of the population's database (formula 4.5).
_POPULATION = frozenset(code for code, meaning, _ in MESSAGE_DATABASES if meaning == "population")
#: How processing can end by indicators 2.2; the last stands for no end.
END_KINDS = ("processed", "returned", "stopped", "denied", "withdrawn", "waiting", "")
#: What a deadline can rest on.
BASES = ("promise", "limit", "none")
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
        """The instant of what had happened by `at`, else `NEVER`."""
        when = population.whole(name)[rows]
        return np.where(when <= at, when, NEVER)

    def happened(name: str) -> Flags:
        """Whether it had happened by `at`."""
        flags: Flags = known(name) < NEVER
        return flags

    completed = known("ended")
    early = happened("done_early") & ~happened("reopened")
    closed = np.where(early, known("done_early"), completed)
    # What is written down as the end may be more than what ended: before a reopening, with a refusal.
    kept = happened("reopened") & ~happened("ended") & population.flag("kept_end")[rows]
    completed = np.where(kept, known("done_early"), closed)
    completed = np.where(happened("denied") & population.flag("closed_refusal")[rows], known("denied"), completed)
    due = population.whole("due0")[rows]
    for ordinal in ("1", "2"):
        due = np.where(happened(f"answered{ordinal}"), population.whole(f"due{ordinal}")[rows], due)
    return State(
        status=_status(population, rows, happened, closed),
        received=known("received"),
        denied=known("denied"),
        due=np.where(happened("received"), due, NEVER),
        completed=completed,
        returned=known("returned"),
    )


def _status(population: Population, rows: Integers, happened: Callable[[str], Flags], closed: Integers) -> Integers:
    status = np.where(happened("received"), 2, 1)
    status = np.where(happened("processed"), 4, status)
    waiting = (happened("asked1") & ~happened("answered1")) | (happened("asked2") & ~happened("answered2"))
    status = np.where(waiting, 5, status)
    status = np.where(happened("fee_asked") & ~happened("paid"), 6, status)
    status = np.where(happened("denied"), 3, status)
    outcome = np.where(happened("ended"), population.whole("outcome")[rows], DONE)
    status = np.where(closed < NEVER, outcome, status)
    return np.where(happened("returned"), 10, status).astype(np.int64)


def unit_at(population: Population, at: int, rows: Integers) -> tuple[Integers, Integers]:
    """Index of the handling unit and of its level at an instant, as every source names it."""
    handed = population.whole("handed_over")[rows] <= at
    unit = np.where(handed, population.whole("unit1")[rows], population.whole("unit0")[rows])
    level = np.where(handed, population.whole("level1")[rows], population.whole("level0")[rows])
    return unit, level


def handler_at(population: Population, at: int, rows: Integers) -> tuple[Integers, Integers]:
    """Index of the unit that really handles, and of its level: of a commune that is no more, its one successor.

    A commune that was split and a district have no such successor: the unit that the sources name stays.
    """
    unit, level = unit_at(population, at, rows)
    communes = {unit.code for unit in population.territory.units if unit.code.count(".") == 2} - split_communes()
    whole = np.array([named.code in communes for named in population.territory.units])[unit]
    carried = population.flag("still_named")[rows] & whole & (at >= seconds(REORGANISED_AT))
    return np.where(carried, population.whole("unit1")[rows], unit), level


def settled_at(population: Population, at: int, rows: Integers) -> Flags:
    """Whether the fee is paid and not paid back at an instant."""
    paid: Flags = (population.whole("paid")[rows] <= at) & (population.whole("refunded")[rows] > at)
    return paid


def visible_at(population: Population, at: int) -> tuple[Flags, Flags, Flags]:
    """Which dossiers stand in the portal, in the one-stop and in the message log at an instant."""
    there = population.whole("deleted") > at
    portal = population.flag("portal") & (population.whole("submitted") <= at) & there
    registered = (population.whole("registered") <= at) & there
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
    reused, VNeID, databases, supplements, steps, when it was refused) is 0, false or unknown for a dossier
    outside the log, and what follows from it too; only steps may be told before the dossier's own message is.
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
        | _limits(population, now, rows, messages[rows])
    )
    return {"dossier": dossier, "payment": _payments(population, now, rows)}


def _instants(values: Integers, microseconds: Integers | int = 0) -> pa.Array:
    known = np.where(values < NEVER, values, 0) * MICROSECONDS + microseconds
    return pa.array(known, mask=values >= NEVER).cast(INSTANT)


def _names(names: tuple[str, ...] | list[str], index: NDArray[np.generic], *, known: Flags | None = None) -> pa.Array:
    texts = np.array(names, dtype=object)[index.astype(np.int64)]
    return pa.array(texts, pa.string(), mask=None if known is None else ~known)


def _identity(population: Population, now: int, rows: Integers) -> dict[str, pa.Array]:
    code = population.columns["code"][rows]
    coded = population.whole("registered")[rows] <= now
    unit, _ = handler_at(population, now, rows)
    place = population.territory
    # The code begins with the agency that gave it.
    reception = population.whole("reception_unit")[rows]
    old = [*place.district, *place.old_commune]
    handed_over = np.isin(reception, old) & ~np.isin(unit, old) & (now >= seconds(REORGANISED_AT))
    names = [unit.code for unit in place.units]
    return {
        "dossier_code": pa.array(code, pa.string(), mask=~coded),
        "reception_unit_code": _names(names, reception, known=coded),
        "previous_unit_code": _names(names, reception, known=coded & handed_over),
    }


def _handler(population: Population, now: int, rows: Integers, *, in_messages_only: Flags) -> dict[str, pa.Array]:
    unit, level = handler_at(population, now, rows)
    procedure = population.whole("procedure")[rows]
    table = population.territory.procedures
    service = np.array(SERVICE_LEVELS, dtype=object)[population.whole("service")[rows]]
    return {
        "unit_code": _names([unit.code for unit in population.territory.units], unit),
        "unit_level": _names(LEVELS, level),
        "procedure_code": _names(table.procedure_code.to_list(), procedure),
        "has_fee": pa.array(table.has_fee.to_numpy(dtype=np.bool_)[procedure]),
        "is_result_required": pa.array(table.is_result_required.to_numpy(dtype=np.bool_)[procedure]),
        "is_citizen_subject": pa.array(_of_citizens(population)[procedure]),
        # Messages do not carry the service level.
        "service_level": pa.array(service, pa.string(), mask=in_messages_only),
        "channel": _names(CHANNELS, population.whole("channel")[rows]),
    }


def _of_citizens(population: Population) -> Flags:
    """Whether citizens are among the applicants of each procedure, as published (formula 4.5)."""
    flags: Flags = population.territory.procedures.applicants.str.lower().str.contains("công dân").to_numpy(np.bool_)
    return flags


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
        "is_from_personal_store": pa.array(population.flag("personal_store")[rows] & logged),
        "is_population_data_used": pa.array(_asks_population()[population.whole("databases")[rows]] & logged),
        "step_count": pa.array(step_counts(population, now, rows)),
    }


def _asks_population() -> Flags:
    """Whether each of `DATABASES` names the population's."""
    return np.array([not _POPULATION.isdisjoint(codes or ()) for codes in DATABASES])


@dataclass(frozen=True)
class Waits:
    """What the message log tells of waiting for the citizen, summed over the answered requests."""

    seconds: Integers
    days: Integers
    working_days: Integers
    #: The last request that was not answered; `NEVER` when every one was.
    unanswered: Integers


def waits_at(population: Population, at: int, rows: Integers, logged: Flags) -> Waits:
    """The waiting of `rows` up to `at`; none where the message log does not hold the dossier."""
    ordinal = working_calendar().ordinal
    total, days, working = (np.zeros(len(rows), dtype=np.int64) for _ in range(3))
    unanswered = np.full(len(rows), NEVER)
    for number in ("1", "2"):
        asked, answered = (population.whole(f"{name}{number}")[rows] for name in ("asked", "answered"))
        done = logged & (answered <= at)
        # An unanswered request has no other end; it must not overflow the calendar.
        back = np.where(done, answered, asked)
        known = done & (asked <= at)
        first, last = local_day(np.where(known, asked, 0)), local_day(np.where(known, back, 0))
        total += np.where(known, back - asked, 0)
        days += last - first
        working += ordinal(last) - ordinal(first)
        unanswered = np.where(logged & (asked <= at) & ~done, asked, unanswered)
    return Waits(total, days, working, unanswered)


def _limits(population: Population, now: int, rows: Integers, logged: Flags) -> dict[str, pa.Array]:
    """Ends and deadlines by the national rule (indicators 2.2), as far as any source can tell them."""
    state = state_at(population, now, rows)
    waits = waits_at(population, now, rows, logged)
    # Neither the portal nor the one-stop tells when a dossier was refused.
    denied = np.where(logged, state.denied, NEVER)
    ended, kind = _ends(state, denied, waits)
    told = logged & (population.whole("asked1")[rows] <= now)
    deadline, basis = _deadlines(population, rows, state=state, waits=waits, told=told)
    at_midnight = (basis == 1) & np.isin(_limit_units(population, rows), ("Ngày", "Tháng"))
    submitted = population.whole("submitted")[rows]
    reception_due = working_calendar().after_office_seconds(submitted, np.full(len(rows), OFFICE_SECONDS))
    return {
        "denied_at": _instants(denied),
        "ended_at": _instants(ended),
        "end_kind": pa.array(np.array(END_KINDS, dtype=object)[kind], pa.string(), mask=kind == len(END_KINDS) - 1),
        # A day that ends at 24 hours ends with its last microsecond.
        "deadline_at": _instants(deadline, np.where(at_midnight, MICROSECONDS - 1, 0)),
        "deadline_basis": _names(BASES, basis),
        "supplement_wait_seconds": pa.array(waits.seconds),
        "reception_due_at": _instants(reception_due),
    }


def _ends(state: State, denied: Integers, waits: Waits) -> tuple[Integers, Integers]:
    """End of processing of what was received, and the number of its kind; `NEVER` and the last kind for none."""
    done = np.isin(state.status, (DONE, 10))
    ways = (
        (done, state.completed),
        (done, state.returned),
        (state.status == STOPPED, state.completed),
        (state.status == 3, denied),
        (state.status == 3, state.completed),
        (state.status == WITHDRAWN, state.completed),
        (state.status == 5, waits.unanswered),
    )
    numbers = (0, 1, 2, 3, 3, 4, 5)
    conditions = [(state.received < NEVER) & holds & (when < NEVER) for holds, when in ways]
    ended = np.select(conditions, [when for _, when in ways], NEVER)
    return ended, np.select(conditions, numbers, len(END_KINDS) - 1)


def _deadlines(
    population: Population, rows: Integers, *, state: State, waits: Waits, told: Flags
) -> tuple[Integers, Integers]:
    """Deadline, cut to whole seconds, and the number of its basis.

    The promise before the first request for a supplement (where one is `told`), else the procedure's limit; moved
    by the waiting. A promise that was made after the waiting, where the one before was left out, is not moved again.
    """
    # Without a known answer, the promise before the request is of use only while the citizen is waited for.
    first = told & ~population.flag("untold_due")[rows] & ((waits.seconds > 0) | (state.status == 5))
    before = np.where(first, population.whole("due0")[rows], NEVER)
    promise = np.where(before < NEVER, before, state.due)
    holds_waiting = told & ~first & (waits.seconds > 0)
    limit = _limit_ends(population, rows, state.received, waits)
    basis = np.select([promise < NEVER, limit < NEVER], [0, 1], 2)
    return np.select(
        [basis == 0, basis == 1], [promise + np.where(holds_waiting, 0, waits.seconds), limit], NEVER
    ), basis


def _limit_units(population: Population, rows: Integers) -> NDArray[np.generic]:
    """Unit of each procedure's published limit, "" where none is published."""
    table = population.territory.procedures
    return np.where(table.limit > 0, table.limit_unit, "")[population.whole("procedure")[rows]]


def _limit_ends(population: Population, rows: Integers, received: Integers, waits: Waits) -> Integers:
    """Where the procedure's published limit ends, moved by the waiting; `NEVER` without reception or limit.

    Civil Code 2015, Articles 147 and 148: the day of reception is not counted. Working days end with the
    office's last one, hours are office hours, days and months end at midnight, on a working day.
    """
    calendar = working_calendar()
    limits = population.territory.procedures.limit.fillna(0).to_numpy(dtype=np.int64)
    limit = limits[population.whole("procedure")[rows]]
    unit = np.where(received < NEVER, _limit_units(population, rows), "")
    start = np.where(received < NEVER, received, population.whole("submitted")[rows])
    day, hours = local_day(start), np.maximum(limit, 1) * 3600
    working = calendar.ordinal(calendar.on_or_after(day)) + limit + waits.working_days
    last = calendar.on_or_after(np.where(unit == "Tháng", months_later(day, limit), day + limit)) + waits.days
    midnight = instant(last + 1, -1)
    ends = {
        "Ngày làm việc": instant(calendar.at_ordinal(working), CLOSING_SECOND),
        "Ngày": midnight,
        "Tháng": midnight,
        "Giờ": calendar.after_office_seconds(start, hours) + waits.seconds,
    }
    return np.select([unit == name for name in ends], list(ends.values()), NEVER)


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
