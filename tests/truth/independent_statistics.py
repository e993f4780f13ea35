"""The dossier statistics table a second time: pandas, dossier by dossier and period by period.

Belongs here: what each column of the periodic report means (TT 01/2020/TT-VPCP as provincial systems fill it
in; the meanings declared with the columns), worked out from the sandbox's truth. Does not belong here:
anything of the product; the product adds up events by month, here every dossier is asked in every period.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sandbox.population import NEVER, Population
from tests.truth.independent import (
    FIRST_MONTH,
    FIRST_TWO_TIER_DAY,
    PERIODS,
    PROVINCE,
    VIETNAM,
    Truth,
    measured_months,
    read_units,
    subjects,
    vietnam_day,
)

UNKNOWN_SECTOR = "(chưa rõ lĩnh vực)"
KEY = ["scope", "level", "unit_code", "breakdown", "sector", "period", "period_start"]
COUNTS = [
    "received_total",
    "received_online",
    "received_direct",
    "received_post",
    "carried_over",
    "transferred_in",
    "resolved_total",
    "resolved_early",
    "resolved_on_time",
    "resolved_late",
    "resolved_supplemented_again",
    "in_process_total",
    "in_process_in_time",
    "in_process_overdue",
    "in_process_undated_end",
    "waiting_supplement",
    "waiting_payment",
    "stopped",
    "denied",
    "withdrawn",
    "transferred_out",
]
#: Every dossier of an ended commune or district went over on this day (Law on Local Government 2025).
_HANDOVER = pd.Timestamp(FIRST_TWO_TIER_DAY)
_FOREVER = pd.Timestamp("2200-01-01")


@dataclass(frozen=True)
class _Period:
    kind: str
    start: pd.Timestamp
    #: The day after the last.
    end: pd.Timestamp


def expected_statistics(truth: Truth, population: Population) -> pd.DataFrame:
    """Every row of the table: KEY and COUNTS."""
    stays = _stays(truth, population)
    parts = [_counted(stays, period, truth.as_of) for period in _periods(truth.as_of)]
    by_sector = _by_scope(pd.concat(parts, ignore_index=True)).assign(breakdown="sector")
    sums = by_sector.assign(breakdown="all", sector="").groupby(KEY, as_index=False)[COUNTS].sum()
    shown = subjects(measured_months(truth.as_of))
    shown = shown[shown.boundaries == "then"].drop(columns="boundaries").assign(breakdown="all", sector="")
    every = shown.merge(sums, on=KEY, how="outer").fillna(dict.fromkeys(COUNTS, 0))
    return pd.concat([every, by_sector], ignore_index=True).astype(dict.fromkeys(COUNTS, "int64"))


def _periods(as_of: pd.Timestamp) -> Iterator[_Period]:
    months = measured_months(as_of)
    for kind, length in PERIODS.items():
        starts = sorted({pd.Timestamp(day.year, (day.month - 1) // length * length + 1, 1) for day in months})
        for start in starts:
            yield _Period(kind, max(start, FIRST_MONTH), start + pd.DateOffset(months=length))


def _stays(truth: Truth, population: Population) -> pd.DataFrame:
    """One row per dossier received and unit that had it: `from_day` up to and including the day it left, `to_day`.

    A dossier still there has no `to_day` (`_FOREVER`). `came` and `went` say how: by the citizen, by the end,
    or by the reorganisation.
    """
    dossier = truth.dossier[truth.dossier.received_at.notna() & (truth.dossier.status_code != 1)]
    received, left = vietnam_day(dossier.received_at), _left_on(dossier)
    level_of = read_units().set_index("unit_code").level.to_dict()
    had_other = dossier.previous_unit_code.notna() & (received < _HANDOVER)
    moved = had_other & (left >= _HANDOVER)
    facts = dossier.assign(
        sector=_sectors(dossier, population),
        outcome=_outcome(dossier),
        is_undated=(left == _FOREVER) & dossier.status_code.isin([3, 7, 8, 9, 10]),
        **_waits(dossier, population, truth.as_of),
    )
    first = facts.assign(
        unit_code=dossier.unit_code.where(~had_other, dossier.previous_unit_code),
        unit_level=dossier.unit_level.where(~had_other, dossier.previous_unit_code.map(level_of)),
        from_day=received,
        to_day=left.where(~moved, _HANDOVER),
        came="citizen",
        went=facts.outcome.where(~moved, "handover"),
    )
    second = facts.assign(from_day=_HANDOVER, to_day=left, came="handover", went=facts.outcome)[moved]
    return pd.concat([first, second], ignore_index=True)


def _left_on(dossier: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """The day of the final end, at the earliest that of the reception; one who waits for the citizen has not left."""
    is_final = dossier.end_kind.notna() & (dossier.end_kind != "waiting")
    ended = vietnam_day(dossier.ended_at).where(is_final, _FOREVER)
    return ended.where(ended >= vietnam_day(dossier.received_at), vietnam_day(dossier.received_at))


def _sectors(dossier: pd.DataFrame, population: Population) -> pd.Series[str]:
    table = population.territory.procedures
    sector = dict(zip(table.procedure_code, table.sector, strict=True))
    return dossier.procedure_code.map(sector).replace("", np.nan).fillna(UNKNOWN_SECTOR)


def _outcome(dossier: pd.DataFrame) -> pd.Series[str]:
    """How a dossier ended, in the columns' names; resolved ones by days before the deadline, then by its instant."""
    is_done = dossier.end_kind.isin(["processed", "returned"])
    early = vietnam_day(dossier.ended_at) < vietnam_day(dossier.deadline_at)
    in_time = dossier.deadline_at.isna() | (dossier.ended_at <= dossier.deadline_at)
    by_deadline = np.select([early, in_time], ["resolved_early", "resolved_on_time"], "resolved_late")
    return dossier.end_kind.where(~is_done, by_deadline).fillna("open")


def _waits(dossier: pd.DataFrame, population: Population, as_of: pd.Timestamp) -> dict[str, pd.Series[pd.Timestamp]]:
    """From when to when the citizen was asked for papers, as the log tells; unanswered: asked, not waited for now."""
    rows = _rows(dossier, population)
    instants = {}
    for number in ("1", "2"):
        asked, answered = (_instants(population, f"{name}{number}", rows) for name in ("asked", "answered"))
        told = pd.Series(asked <= as_of, index=dossier.index) & dossier.in_messages
        is_answered = told & pd.Series(answered <= as_of, index=dossier.index)
        is_open = told & ~is_answered & (dossier.end_kind == "waiting")
        instants[f"asked{number}"] = pd.Series(asked, index=dossier.index).where(is_answered | is_open)
        instants[f"answered{number}"] = pd.Series(answered, index=dossier.index).where(is_answered)
    return instants


def _rows(dossier: pd.DataFrame, population: Population) -> np.ndarray:
    """Row of each dossier in the population. Whatever was received has its code."""
    places = {code: row for row, code in enumerate(population.columns["code"].tolist())}
    return dossier.dossier_code.map(places).to_numpy(dtype=np.int64)


def _instants(population: Population, name: str, rows: np.ndarray) -> pd.DatetimeIndex:
    seconds = population.whole(name)[rows]
    known = np.where(seconds < NEVER, seconds, pd.Timestamp("2200-01-01").value // 10**9)
    return pd.to_datetime(known, unit="s", utc=True)


def _counted(stays: pd.DataFrame, period: _Period, as_of: pd.Timestamp) -> pd.DataFrame:
    """Counts by unit and sector, where there is anything at all."""
    began = (stays.from_day >= period.start) & (stays.from_day < period.end)
    went = (stays.to_day >= period.start) & (stays.to_day < period.end)
    by_citizen, by_handover = stays.came == "citizen", stays.went == "handover"
    # On the first day of a period, the reorganisation comes before everything else.
    held = (stays.from_day < period.start) | (~by_citizen & (stays.from_day == period.start))
    carried = held & (stays.to_day >= period.start) & ~(by_handover & (stays.to_day == period.start))
    is_open = (stays.from_day < period.end) & (stays.to_day >= period.end)
    supplement, payment = _waiting(stays, period, as_of)
    supplement, payment = supplement & is_open, payment & is_open
    busy = is_open & ~supplement & ~payment
    closes = min(period.end.tz_localize(VIETNAM), as_of)
    columns = {
        f"received_{name}": began & by_citizen & (stays.channel == name) for name in ("online", "direct", "post")
    }
    columns |= {name: went & (stays.went == name) for name in COUNTS if name.startswith("resolved_")}
    columns |= {name: went & (stays.went == name) for name in ("stopped", "denied", "withdrawn")}
    columns |= {
        "carried_over": carried,
        "received_total": carried | (began & by_citizen),
        "transferred_in": began & ~by_citizen & (stays.from_day > period.start),
        "transferred_out": went & by_handover & (stays.to_day > period.start),
        "resolved_total": went & stays.went.str.startswith("resolved_"),
        "resolved_supplemented_again": went
        & stays.went.isin(["resolved_early", "resolved_on_time"])
        & (stays.supplement_count > 1),
        "in_process_total": busy,
        "in_process_overdue": busy & (stays.deadline_at < closes),
        "in_process_in_time": busy & ~(stays.deadline_at < closes),
        "in_process_undated_end": busy & stays.is_undated,
        "waiting_supplement": supplement,
        "waiting_payment": payment,
    }
    flags = pd.DataFrame({name: columns[name] for name in COUNTS})
    there = flags.received_total | flags.transferred_in
    names = stays[["unit_code", "sector"]].assign(level=stays.unit_level)[there]
    sums = pd.concat([names, flags[there].astype("int64")], axis="columns")
    sums = sums.groupby(["level", "unit_code", "sector"], as_index=False)[COUNTS].sum()
    return sums.assign(period=period.kind, period_start=period.start.as_unit("us"))


def _waiting(stays: pd.DataFrame, period: _Period, as_of: pd.Timestamp) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """For papers and for payment at the period's end: by the state where that is now, else by the log's instants."""
    end = period.end.tz_localize(VIETNAM)
    if end >= as_of:
        return stays.status_code == 5, stays.status_code == 6
    waits = pd.Series(data=False, index=stays.index)
    for number in ("1", "2"):
        answered = stays[f"answered{number}"]
        waits |= (stays[f"asked{number}"] < end) & (answered.isna() | (answered >= end))
    return waits, pd.Series(data=False, index=stays.index)


def _by_scope(rows: pd.DataFrame) -> pd.DataFrame:
    everything = pd.concat(
        [
            rows.assign(scope="unit"),
            rows.assign(scope="level", unit_code=PROVINCE),
            rows.assign(scope="province", level="all", unit_code=PROVINCE),
        ]
    )
    key = [name for name in KEY if name != "breakdown"]
    return everything.groupby(key, as_index=False)[COUNTS].sum()
