"""Which dossiers lose points, in which indicator, and what would mend them.

Belongs here: reading the rules of advice (`worklist_rules.yaml`), compiling them with the indicator
definitions into one statement (`worklist.sql`), and running it. Does not belong here: what an
indicator means (`assets/indicators/definitions/`), nor what the sources disagree about
(`assets/dossiers/reconciliation.py`).

A dossier is lost to a definition when it is in its denominator and not in its numerator, within the
days asked for: the rows of an indicator with loss = lost are exactly its denominator less its
numerator. Predicates are the definitions' own, so a new version needs advice, never new code. What
counts payments and not dossiers has no rows here: a payment made is past mending.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlglot import exp

from assets.indicators.definitions import Definition, bind, parse_predicate
from warehouse.schema import Table
from warehouse.tables.core import CORE_DOSSIER
from warehouse.tables.reconciliation import OUT_RECONCILIATION, OUT_WORKLIST

RULES = Path(__file__).parent / "worklist_rules.yaml"
#: The tables that must be there, as views of those names.
READS: tuple[Table, ...] = (CORE_DOSSIER, OUT_RECONCILIATION)
#: What a rule may speak of: a dossier, and what reconciliation found of its lateness.
SUBJECT = Table(
    name="core_dossier",
    vi=CORE_DOSSIER.vi,
    en=CORE_DOSSIER.en,
    key=CORE_DOSSIER.key,
    columns=(*CORE_DOSSIER.columns, OUT_RECONCILIATION.column("lateness")),
)

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_ADVICE = pa.schema(
    [
        pa.field("advice", pa.int32()),
        *(pa.field(name, pa.string()) for name in ("indicator", "version", "loss", "rule", "reason", "remedy")),
        pa.field("is_mendable", pa.bool_()),
        pa.field("urgency", pa.int8()),
    ]
)
#: What comes first in a unit's list: what is about to be lost, then what can be mended, then what cannot.
_AT_RISK, _MENDABLE, _PAST_MENDING = range(3)


class WorklistRuleError(ValueError):
    """The rules cannot be used; the text names file, indicator and case, one problem per line."""


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    when: str | None = None
    reason: str = Field(min_length=1)
    remedy: str = Field(min_length=1)
    mendable: bool


class _AtRisk(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    versions: tuple[str, ...] = Field(min_length=1)
    case: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    when: str
    reason: str = Field(min_length=1)
    remedy: str = Field(min_length=1)


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    indicator: str
    versions: tuple[str, ...] = ()
    cases: tuple[_Case, ...] = Field(min_length=1)
    at_risk: _AtRisk | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One piece of advice: it speaks when `when` holds (None: always) and no case before it did."""

    case: str
    when: exp.Expr | None
    reason: str
    remedy: str
    is_mendable: bool


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The advice for an indicator: for the named versions, or for every one that no other rule names.

    `at_risk` speaks of dossiers that still count, in `at_risk_versions` only.
    """

    indicator: str
    versions: tuple[str, ...]
    cases: tuple[Case, ...]
    at_risk: Case | None
    at_risk_versions: tuple[str, ...]


def load_rules(path: Path = RULES) -> tuple[Rule, ...]:
    """Read and check the rules; raises `WorklistRuleError` with every problem found."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, list):
        raise WorklistRuleError(f"{path.name}: expected a list of rules (danh sách các quy tắc)")
    problems: list[str] = []
    rules = [rule for number, entry in enumerate(content, 1) if (rule := _rule(path.name, number, entry, problems))]
    seen: set[tuple[str, str]] = set()
    for rule in rules:
        for version in rule.versions or ("",):
            if (rule.indicator, version) in seen:
                problems.append(f"{path.name}: {rule.indicator} {version or '(every version)'}: has two rules")
            seen.add((rule.indicator, version))
    if problems:
        raise WorklistRuleError("\n".join(problems))
    return tuple(rules)


def _rule(file: str, number: int, entry: Any, problems: list[str]) -> Rule | None:
    """The entry as a rule, or None with what is wrong added to `problems`."""
    named = entry.get("indicator", "without indicator") if isinstance(entry, dict) else "not a mapping"
    place = f"{file}: rule {number} ({named})"
    try:
        said = _Rule.model_validate(entry)
    except ValidationError as error:
        problems += [f"{place}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        return None
    wrong = [
        f"case {case.case}: only the last case has no `when`"
        for case in said.cases
        if (case.when is None) != (case is said.cases[-1])
    ]
    names = [case.case for case in said.cases]
    wrong += [f"case {name}: the name is used twice" for name in sorted({n for n in names if names.count(n) > 1})]
    cases = [_case(case, case.mendable, wrong) for case in said.cases]
    risk = _case(said.at_risk, True, wrong) if said.at_risk else None
    problems += [f"{place}: {problem}" for problem in wrong]
    if wrong:
        return None
    versions = said.at_risk.versions if said.at_risk else ()
    return Rule(
        indicator=said.indicator, versions=said.versions, cases=tuple(cases), at_risk=risk, at_risk_versions=versions
    )


def _case(said: _Case | _AtRisk, is_mendable: bool, wrong: list[str]) -> Case:
    when = None
    if said.when is not None:
        try:
            when = parse_predicate(said.when, SUBJECT)
        except ValueError as error:
            wrong.append(f"case {said.case}: when: {error}")
    return Case(case=said.case, when=when, reason=said.reason, remedy=said.remedy, is_mendable=is_mendable)


def rule_for(rules: Iterable[Rule], definition: Definition) -> Rule | None:
    """The rule of a definition: the one that names its version, else the one for every version."""
    of_indicator = [rule for rule in rules if rule.indicator == definition.id]
    named = [rule for rule in of_indicator if definition.version in rule.versions]
    return next(iter([*named, *(rule for rule in of_indicator if not rule.versions)]), None)


def worklist(
    connection: duckdb.DuckDBPyConnection,
    definitions: Sequence[Definition],
    rules: Sequence[Rule],
    *,
    counted: Collection[tuple[str, str]],
    as_of: datetime,
    since: date | None = None,
) -> pa.Table:
    """The dossiers that lose points at `as_of`, as `out_worklist` rows.

    `counted` are the (indicator, version) pairs that answer a target or a component of the score; other
    versions hurt nobody. Days are from `since` (by default 1 January of the year of `as_of`) to the end
    of the month of `as_of`, as the evaluator counts. `connection` shows the tables of `READS`
    (`lake.connect(*READS)`). Raises `WorklistRuleError` for a counted definition without advice, and
    `ValueError` when `as_of` has no zone.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be an instant with its zone")
    chosen = [d for d in definitions if d.key in counted and d.table is CORE_DOSSIER]
    advised = _advised(chosen, rules)
    # The last day counted: the instant itself, at midnight, is already the day after.
    last = (as_of - timedelta(microseconds=1)).astimezone(_ZONE).date()
    span = _Span(since=since or last.replace(month=1, day=1), until=_month_end(last), as_of=as_of)
    if not advised:
        return OUT_WORKLIST.arrow_schema().empty_table()
    connection.register("advice", _advice_rows(advised))
    rows = connection.sql(_statement(advised, span), params={"as_of": as_of}).to_arrow_table()
    return rows.select(list(OUT_WORKLIST.column_names)).cast(OUT_WORKLIST.arrow_schema())


@dataclass(frozen=True, kw_only=True)
class _Span:
    """The days asked for, both included, and the instant up to which facts are known."""

    since: date
    until: date
    as_of: datetime

    @property
    def values(self) -> Mapping[str, exp.Expr]:
        """What parameters stand for: the running period ends where knowledge does."""
        instant = exp.cast(exp.Literal.string(self.as_of.isoformat()), "TIMESTAMPTZ")
        return {"as_of": instant, "period_end": instant}


def _month_end(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _advised(definitions: Iterable[Definition], rules: Sequence[Rule]) -> list[tuple[Definition, Rule]]:
    """Each definition with its rule; raises for those that have none."""
    pairs = [(definition, rule_for(rules, definition)) for definition in definitions]
    if silent := [f"{definition.id} {definition.version}" for definition, rule in pairs if rule is None]:
        raise WorklistRuleError(
            f"{RULES.name}: no advice for {', '.join(silent)}: add a rule (chưa có hướng dẫn khắc phục, thêm quy tắc)"
        )
    return [(definition, rule) for definition, rule in pairs if rule is not None]


def _numbered(advised: Iterable[tuple[Definition, Rule]]) -> Iterator[tuple[Definition, Rule, int]]:
    """Each definition with the number of its first advice; its cases follow, then what is at risk."""
    first = 0
    for definition, rule in advised:
        yield definition, rule, first
        first += len(rule.cases) + 1


def _advice_rows(advised: Iterable[tuple[Definition, Rule]]) -> pa.Table:
    rows = []
    for definition, rule, first in _numbered(advised):
        at_risk = [(rule.at_risk, "at_risk")] if rule.at_risk else []
        for number, (case, loss) in enumerate([*((case, "lost") for case in rule.cases), *at_risk], first):
            rows.append(
                {
                    "advice": number,
                    "indicator": definition.id,
                    "version": definition.version,
                    "loss": loss,
                    "rule": f"{definition.id}/{case.case}",
                    "reason": case.reason,
                    "remedy": case.remedy,
                    "is_mendable": case.is_mendable,
                    "urgency": _AT_RISK if loss == "at_risk" else _MENDABLE if case.is_mendable else _PAST_MENDING,
                }
            )
    return pa.Table.from_pylist(rows, schema=_ADVICE)


def _statement(advised: Sequence[tuple[Definition, Rule]], span: _Span) -> str:
    text = resources.files("assets.scorecards").joinpath("worklist.sql").read_text(encoding="utf-8")
    events = sorted({definition.event for definition, _ in advised})
    parts = {
        "judgements": ",\n            ".join(_judgement(*each, span).sql("duckdb") for each in _numbered(advised)),
        "lateness": "LEFT JOIN (SELECT dossier_key, lateness FROM out_reconciliation WHERE kind = 'late') AS l "
        "USING (dossier_key)",
        "within": exp.or_(*(_between(event, span.since, span.until) for event in events)).sql("duckdb"),
    }
    for name, piece in parts.items():
        text = text.replace("{" + name + "}", piece)
    return text


def _between(event: str, since: date, until: date) -> exp.Expr:
    low, high = (exp.cast(exp.Literal.string(day.isoformat()), "DATE") for day in (since, until))
    return exp.Between(this=exp.column(event), low=low, high=high)


def _judgement(definition: Definition, rule: Rule, first: int, span: _Span) -> exp.Expr:
    """Which advice fits a dossier by this definition, with the event day; null when it loses nothing."""
    days = _between(
        definition.event, max(span.since, definition.valid_from), min(span.until, definition.valid_to or date.max)
    )
    population = exp.and_(days, bind(definition.population, span.values))
    # A predicate that is null counts as not holding, in the numerator too.
    numerator = exp.func("coalesce", exp.paren(bind(definition.numerator, span.values)), exp.false())
    advice = _first_fit(rule, first, span)
    judged = exp.case().when(exp.and_(population, exp.not_(numerator)), _found(advice, definition, is_lost=True))
    if rule.at_risk and rule.at_risk.when and definition.version in rule.at_risk_versions:
        danger = exp.and_(population.copy(), bind(rule.at_risk.when, span.values))
        judged = judged.when(danger, _found(exp.Literal.number(first + len(rule.cases)), definition, is_lost=False))
    return judged


def _first_fit(rule: Rule, first: int, span: _Span) -> exp.Expr:
    """The number of the first case that fits."""
    otherwise = exp.Literal.number(first + len(rule.cases) - 1)
    conditions = [(number, case.when) for number, case in enumerate(rule.cases, first) if case.when is not None]
    if not conditions:
        return otherwise
    fit = exp.case()
    for number, when in conditions:
        fit = fit.when(bind(when, span.values), exp.Literal.number(number))
    return fit.else_(otherwise)


def _found(advice: exp.Expr, definition: Definition, *, is_lost: bool) -> exp.Expr:
    said = {"advice": advice, "event_on": exp.column(definition.event), "is_lost": exp.convert(is_lost)}
    return exp.Struct(
        expressions=[exp.PropertyEQ(this=exp.to_identifier(name), expression=value) for name, value in said.items()]
    )
