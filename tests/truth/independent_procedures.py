"""Rates that count procedures a second time: pandas, from the truth's dossiers and the dated procedures.

Belongs here: formulas 3.1, 3.2, 3.5 and 4.5a of the domain notes (indicators 2.1) and the catalogue's shares,
each as plain sets of procedure codes. Does not belong here: anything of the product; the dated procedures come
as its table, for who learned what of a procedure and when is proved elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tests.truth.independent import (
    LAST_DISTRICT_DAY,
    PERIODS,
    PROVINCE,
    VIETNAM,
    Truth,
    is_received,
    is_waived,
    measured_months,
    period_start,
    subjects,
    vietnam_day,
)

KEY = ["indicator", "version", "scope", "level", "unit_code", "period", "period_start"]
#: Of procedures in force on a day: True, False, or <NA> for what is not known.
Known = Callable[[pd.DataFrame], "pd.Series[bool]"]
#: Of received dossiers: whether one is enough for its procedure.
Seen = Callable[[pd.DataFrame], "pd.Series[bool]"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`numerator` is over procedures, or `seen` over dossiers of the period; `least` percent must be known."""

    population: Known
    numerator: Known | None = None
    seen: Seen | None = None
    least: int = 100


def _is_online(procedure: pd.DataFrame) -> pd.Series[bool]:
    """A service online in full or in part; not known without a level."""
    return procedure.online_level.isin(["full", "partial"]).astype("boolean").mask(procedure.online_level.isna())


def _has_service(procedure: pd.DataFrame) -> pd.Series[bool]:
    """An online service: by its level, or where no level is known by the channels of the catalogue."""
    return _is_online(procedure).fillna(procedure.offers_online.astype("boolean"))


def _of_citizens(procedure: pd.DataFrame) -> pd.Series[bool]:
    """4.5: whose subject is a citizen; where the list of applicants was cut short, not seen is not known."""
    known = procedure.is_citizen_subject | procedure.has_whole_applicants
    return procedure.is_citizen_subject.astype("boolean").where(known)


def _every(procedure: pd.DataFrame) -> pd.Series[bool]:
    return pd.Series(data=True, index=procedure.index, dtype="boolean")


def _flag(name: str) -> Known:
    return lambda procedure: procedure[name].astype("boolean")


RULES: dict[tuple[str, str], Rule] = {
    # 3.1: partial or full, of procedures under authority.
    ("procedures-online", "catalogue"): Rule(population=_every, numerator=_is_online, least=95),
    ("procedures-full-online", "catalogue"): Rule(
        population=_every,
        numerator=lambda each: (each.online_level == "full").astype("boolean").mask(each.online_level.isna()),
        least=95,
    ),
    ("procedures-integrated", "catalogue"): Rule(population=_every, numerator=_flag("is_integrated"), least=95),
    ("procedures-online-payment", "catalogue"): Rule(
        population=_flag("has_fee"), numerator=_flag("offers_online_payment"), least=95
    ),
    ("services-integrated", "catalogue"): Rule(population=_has_service, numerator=_flag("is_integrated"), least=95),
    ("eligible-online-integrated", "catalogue"): Rule(
        population=_flag("is_online_eligible"),
        numerator=lambda each: _is_online(each) & each.is_integrated.astype("boolean"),
        least=95,
    ),
    # 3.2: services with at least one online dossier.
    ("services-with-online-dossiers", "766-3.2"): Rule(
        population=_has_service, seen=lambda dossier: dossier.channel == "online"
    ),
    # 3.5a: whose dossiers carry synchronised fee data (phí khác 0, null).
    ("fee-procedures-synchronised", "766-3.5a"): Rule(
        population=_flag("has_fee"),
        seen=lambda dossier: dossier.in_messages & (dossier.fee_line_count > 0) & ~is_waived(dossier),
    ),
    # 3.5b: with at least one online payment.
    ("fee-procedures-paid-online", "766-3.5b"): Rule(
        population=_flag("has_fee"), seen=lambda dossier: dossier.paid_online
    ),
    # 4.5a: verified with VNeID, or the population's database named.
    ("citizen-procedures-connected", "766-4.5a"): Rule(
        population=_of_citizens,
        seen=lambda dossier: dossier.vneid_verified | dossier.is_population_data_used,
        least=75,
    ),
}


Codes = frozenset[str]
#: Of one rule: the procedures that may belong, those of them of which enough is known, and the winners among these.
_Split = tuple[Codes, Codes, Codes]
#: A subject: scope, level, unit_code.
_Place = tuple[str, str, str]


#: On the day that a period is judged on: by rule and by class of those who have the same procedures.
_Day = dict[tuple[str, str], dict[str, _Split]]


def expected_procedures(truth: Truth, procedures: pd.DataFrame, sectors: Path) -> pd.DataFrame:
    """KEY, numerator, denominator of every subject and period; 0 and 0 where not enough is known."""
    department = _departments(sectors)
    dossier = truth.dossier[is_received(truth.dossier)]
    dossier = dossier.assign(day=vietnam_day(dossier.received_at))
    rows = subjects(measured_months(truth.as_of))
    rows = rows[(rows.boundaries == "then") & _is_asked(rows, department)].drop(columns="boundaries")
    days: dict[pd.Timestamp, _Day] = {}
    parts = []
    periods = list(rows[["period", "period_start"]].drop_duplicates().itertuples(index=False, name=None))
    for kind, start in periods:
        here = rows[(rows.period == kind) & (rows.period_start == start)]
        judged_on = _judged_on(kind, start, truth.as_of)
        if judged_on not in days:
            days[judged_on] = _day(procedures, department, judged_on)
        of_period = dossier[period_start(dossier.day, kind) == start]
        for pair, rule in RULES.items():
            counted = _counted(rule, pair, here, days[judged_on], of_period)
            parts.append(counted.assign(indicator=pair[0], version=pair[1]))
    return pd.concat(parts, ignore_index=True)


def _departments(sectors: Path) -> dict[str, str]:
    """Sector → the department that has it."""
    rows = pd.read_csv(sectors, dtype=str).dropna(subset="unit_code")
    return dict(zip(rows.sector, rows.unit_code, strict=True))


def _is_asked(rows: pd.DataFrame, department: dict[str, str]) -> pd.Series[bool]:
    """A department without a sector has no known procedures and no row."""
    is_department = (rows.scope == "unit") & (rows.level == "province")
    return ~is_department | rows.unit_code.isin(set(department.values()))


def _judged_on(kind: str, start: pd.Timestamp, as_of: pd.Timestamp) -> pd.Timestamp:
    """The period's last day, or the last one known while it runs."""
    last_known = (as_of - pd.Timedelta(1, "us")).tz_convert(VIETNAM).tz_localize(None).normalize()
    return min(start + pd.DateOffset(months=PERIODS[kind]) - pd.Timedelta(days=1), last_known)


def _day(procedures: pd.DataFrame, department: dict[str, str], day: pd.Timestamp) -> _Day:
    dated = (procedures.valid_from <= day) & (procedures.valid_to.isna() | (procedures.valid_to >= day))
    in_force = procedures[dated & (procedures.state == "in_force")]
    classes = _classes(in_force, department, day)
    found: _Day = {}
    for pair, rule in RULES.items():
        candidates, known, won = _split(rule, in_force)
        found[pair] = {name: (codes & candidates, codes & known, codes & won) for name, codes in classes.items()}
    return found


def _classes(in_force: pd.DataFrame, department: dict[str, str], day: pd.Timestamp) -> dict[str, Codes]:
    """Who has which procedures, by the levels that are published and the sectors that the province gave."""
    has = {
        level: frozenset(in_force.procedure_code[in_force.levels.fillna("").str.contains(words, regex=False)])
        for level, words in (("province", "Cấp tỉnh"), ("district", "Cấp huyện"), ("commune", "Cấp xã"))
    }
    districts = has["district"] if day <= pd.Timestamp(LAST_DISTRICT_DAY) else frozenset()
    owner = in_force.sector.map(department)
    own = {unit: has["province"] & frozenset(rows.procedure_code) for unit, rows in in_force.groupby(owner)}
    return (
        dict.fromkeys(department.values(), frozenset())
        | own
        | has
        | {"all": has["province"] | has["commune"] | districts}
    )


def _split(rule: Rule, in_force: pd.DataFrame) -> _Split:
    population = rule.population(in_force)
    numerator = rule.numerator(in_force) if rule.numerator else _every(in_force)
    known = population.fillna(value=False) & numerator.notna()
    flags = (population.fillna(value=True), known, known & numerator.fillna(value=False))
    candidates, enough, won = (frozenset(in_force.procedure_code[flag]) for flag in flags)
    return candidates, enough, won


def _counted(rule: Rule, pair: tuple[str, str], rows: pd.DataFrame, day: _Day, dossier: pd.DataFrame) -> pd.DataFrame:
    seen = _seen(dossier[rule.seen(dossier)]) if rule.seen else None
    counts = []
    for place in rows[["scope", "level", "unit_code"]].itertuples(index=False, name=None):
        candidates, known, won = day[pair][_class_of(place)]
        if not known or 100 * len(known) < rule.least * len(candidates):
            counts.append((0, 0))
        else:
            counts.append((len(won if seen is None else won & seen.get(place, frozenset())), len(known)))
    return rows.assign(numerator=[count for count, _ in counts], denominator=[count for _, count in counts])


def _class_of(place: _Place) -> str:
    scope, level, unit_code = place
    return unit_code if scope == "unit" and level == "province" else level


def _seen(dossier: pd.DataFrame) -> dict[_Place, set[str]]:
    """Procedures that had such a dossier: at each unit, at each level, anywhere."""
    found: dict[_Place, set[str]] = {}
    for level, unit, procedure in zip(dossier.unit_level, dossier.unit_code, dossier.procedure_code, strict=True):
        for place in (("unit", level, unit), ("level", level, PROVINCE), ("province", "all", PROVINCE)):
            found.setdefault(place, set()).add(procedure)
    return found
