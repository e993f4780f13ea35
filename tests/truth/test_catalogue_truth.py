"""The whole catalogue over invented provinces: every part of a night's tables equals a second count.

At this level, from HTTP to the last table, because the parts were each proved on cases of their own and must
also hold together: one dossier has one answer in all of them. What is expected comes from `independent_*.py`,
which share no code with the product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pandas as pd
import pytest

from assets.indicators.definitions import load_definitions
from assets.periods import Period
from assets.questions.explain import explain
from assets.questions.memberships import memberships
from assets.questions.restate import Knowledge, Restated, restate
from tests.truth.comparison import SHOWN
from tests.truth.independent import OF_PAYMENTS, PERIODS, RULES, VIETNAM, period_start, vietnam_day
from tests.truth.independent_procedures import KEY as PROCEDURE_KEY
from tests.truth.independent_procedures import RULES as PROCEDURE_RULES
from tests.truth.independent_procedures import expected_procedures
from tests.truth.independent_reconciliation import expected_findings
from tests.truth.independent_score import Points, expected_points, expected_ranks
from tests.truth.independent_statistics import COUNTS, expected_statistics
from tests.truth.independent_statistics import KEY as STATISTIC_KEY
from tests.truth.whole import Made, Whole, whole

#: Seed and dossiers of each province.
PROVINCES = [(5, 1_500), (766, 700), (99, 6_000)]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module", params=PROVINCES, ids=lambda pair: f"seed-{pair[0]}")
def province(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """A province after the first night and the one over Monday, 2 November 2026."""
    seed, dossiers = request.param
    with whole(tmp_path_factory.mktemp("home"), dossiers=dossiers, seed=seed) as made:
        yield made


def _days(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(period_start=pd.to_datetime(rows.period_start).astype("datetime64[us]"))


def _differing(ours: pd.DataFrame, theirs: pd.DataFrame, key: list[str], facts: list[str]) -> pd.DataFrame:
    """Rows of the outer join on `key` in which a fact differs, or that only one side has."""
    joined = ours[[*key, *facts]].merge(
        theirs[[*key, *facts]], on=key, how="outer", suffixes=("_ours", "_truth"), validate="one_to_one"
    )
    same = pd.Series(data=True, index=joined.index)
    for fact in facts:
        mine, other = joined[f"{fact}_ours"], joined[f"{fact}_truth"]
        same &= (mine == other) | (mine.isna() & other.isna())
    return joined[~same]


def _assert_same(ours: pd.DataFrame, theirs: pd.DataFrame, key: list[str], facts: list[str]) -> None:
    found = _differing(ours, theirs, key, facts)
    assert found.empty, f"{len(found)} differ\n{found.head(SHOWN).to_string(index=False)}"


def _assert_statistics(here: Whole, made: Made) -> None:
    expected = expected_statistics(made.night.truth, here.population)
    _assert_same(_days(made["out_statistic"]), expected, STATISTIC_KEY, COUNTS)


def test_every_cell_of_the_statistics_is_true(province: Whole) -> None:
    for made in province.made:
        _assert_statistics(province, made)


def test_every_column_of_the_statistics_occurs(province: Whole) -> None:
    """A column that is always 0 would be true of any rule."""
    whole_province = province.last["out_statistic"].query("scope == 'province' and breakdown == 'all'")
    sums = whole_province[COUNTS].sum()
    rare = {"in_process_undated_end", "waiting_payment", "resolved_supplemented_again"}
    assert set(sums[sums == 0].index) <= rare, sums.to_string()


def test_the_statistics_balance(province: Whole) -> None:
    """What came and what was there = what left and what is there; the end of a period begins the next one."""
    rows = _days(province.last["out_statistic"])
    channels = rows.received_online + rows.received_direct + rows.received_post
    assert (rows.received_total == channels + rows.carried_over).all()
    assert (rows.resolved_total == rows.resolved_early + rows.resolved_on_time + rows.resolved_late).all()
    assert (rows.in_process_total == rows.in_process_in_time + rows.in_process_overdue).all()
    there = rows.in_process_total + rows.waiting_supplement + rows.waiting_payment
    gone = rows.resolved_total + rows.stopped + rows.denied + rows.withdrawn + rows.transferred_out
    assert (rows.received_total + rows.transferred_in == there + gone).all()
    whole_province = rows[rows.scope == "province"]
    assert (whole_province.transferred_in == whole_province.transferred_out).all()
    for _, each in rows.assign(there=there).query("scope == 'province' and breakdown == 'all'").groupby("period"):
        ordered = each.sort_values("period_start")
        assert ordered.carried_over.iloc[1:].to_list() == ordered.there.iloc[:-1].to_list()


def test_rates_of_procedures_are_true(province: Whole) -> None:
    """Distinct procedures, counted anew for every subject and period from sets of codes."""
    ours, expected = _of_procedures(province)
    _assert_same(ours, expected, PROCEDURE_KEY, ["numerator", "denominator"])
    is_told = expected[expected.denominator > 0].groupby(["indicator", "version"]).numerator.max()
    assert set(is_told[is_told > 0].index) == set(PROCEDURE_RULES)


def _of_procedures(province: Whole) -> tuple[pd.DataFrame, pd.DataFrame]:
    made = province.last
    procedures, sectors = made.core["core_procedure"], province.here.province.sectors
    days = {name: pd.to_datetime(procedures[name]).astype("datetime64[us]") for name in ("valid_from", "valid_to")}
    assert sectors is not None
    expected = expected_procedures(made.night.truth, procedures.assign(**days), sectors)
    rows = _days(made["out_indicator"].query("boundaries == 'then'"))
    rows = rows[[pair in PROCEDURE_RULES for pair in zip(rows.indicator, rows.version, strict=True)]]
    return rows, _days(expected)


#: Whose points are counted again: the province, every level, and units in the order of their dossiers.
_UNITS = 20


def test_points_and_ranks_are_those_of_the_written_formulas(province: Whole) -> None:
    made = province.last
    counts, scored = _counts_by_subject(made), _days(made["out_score_total"].query("boundaries == 'then'"))
    checked = 0
    for period, start in _tuples(scored.drop_duplicates(["period", "period_start"]), "period", "period_start"):
        expected = _expected_points(counts, period, start)
        totals = scored[(scored.period == period) & (scored.period_start == start)]
        shown = totals[totals.scope.ne("unit") | totals.unit_code.isin(_busiest(made))]
        for *subject, group, won, most in _tuples(shown, *_SUBJECT, "group_id", "points", "scored_max"):
            points = expected[tuple(subject)][group]
            # A group of which nothing is known has no points, not 0.
            hundredths = None if pd.isna(won) else round(won * 100)
            assert (hundredths, most) == (points.hundredths if points.scored_max else None, points.scored_max), subject
            checked += 1
        _assert_ranks(totals, expected)
    assert checked > 6 * _UNITS * len(set(scored.period_start)) / 2


_SUBJECT = ("scope", "level", "unit_code")


def _tuples(rows: pd.DataFrame, *names: str) -> Iterator[tuple[Any, ...]]:
    """The rows as plain tuples of some columns."""
    return zip(*(rows[name] for name in names), strict=True)


def _busiest(made: Made) -> list[str]:
    return made.core["core_dossier"].unit_code.value_counts().index[:_UNITS].to_list()


#: Scope, level and unit_code of a subject → its counts by indicator version.
_Subjects = dict[tuple[str, ...], dict[tuple[str, str], tuple[int, int]]]


def _counts_by_subject(made: Made) -> dict[tuple[str, pd.Timestamp], _Subjects]:
    """By period and start: counts of each subject by indicator version."""
    rows = _days(made["out_indicator"].query("boundaries == 'then' and not numerator.isna()"))
    rows = rows[(rows.period == "year") | (rows.period_start >= f"{made.night.as_of.year}-01-01")]
    found: dict[tuple[str, pd.Timestamp], _Subjects] = {}
    for *subject, period, start, indicator, version, n, d in _tuples(
        rows, *_SUBJECT, "period", "period_start", "indicator", "version", "numerator", "denominator"
    ):
        pairs = found.setdefault((period, start), {}).setdefault(tuple(subject), {})
        pairs[indicator, version] = (int(n), int(d))
    return found


def _expected_points(
    counts: dict[tuple[str, pd.Timestamp], _Subjects], period: str, start: pd.Timestamp
) -> dict[tuple[str, ...], dict[str, Points]]:
    before = counts.get(("year", pd.Timestamp(start.year - 1, 1, 1)), {})
    now = counts[period, start]
    return {subject: expected_points(now[subject], before.get(subject, {}), period) for subject in now}


def _assert_ranks(totals: pd.DataFrame, expected: dict[tuple[str, ...], dict[str, Points]]) -> None:
    units = totals[totals.scope == "unit"]
    for group, level in _tuples(units.drop_duplicates(["group_id", "level"]), "group_id", "level"):
        rows = units[(units.group_id == group) & (units.level == level)]
        points = {unit: found[group] for (scope, of, unit), found in expected.items() if (scope, of) == ("unit", level)}
        ranked = rows[rows["rank"].notna()]
        assert dict(zip(ranked.unit_code, ranked["rank"].astype(int), strict=True)) == expected_ranks(points)
        assert (ranked.ranked == len(ranked)).all()


def test_some_ranks_are_shared(province: Whole) -> None:
    """Otherwise nobody would know what a tie does."""
    rows = province.last["out_score_total"].query("scope == 'unit' and group_id == 'total' and not rank.isna()")
    assert rows.duplicated(["level", "boundaries", "period", "period_start", "rank"]).any()


def test_the_worklist_names_the_lost_dossiers_of_the_year(province: Whole) -> None:
    """Dossier by dossier: in the denominator of this year's rows and not in the numerator."""
    for made in province.made:
        listed = made["out_worklist"].query("loss == 'lost'")
        found = {
            (row.indicator, row.version, row.dossier_code, row.unit_code)
            for row in listed[["indicator", "version", "dossier_code", "unit_code"]].itertuples()
        }
        assert len(found) == len(listed)
        assert found == set(_lost(made)) != set()


def _lost(made: Made) -> Iterator[tuple[str, str, str, str]]:
    """By the second count of each rule, with the running year's end where knowledge ends."""
    dossier, as_of = made.night.truth.dossier, made.night.truth.as_of
    now = pd.Series(as_of.tz_convert("UTC"), index=dossier.index)
    year = pd.Timestamp(made.night.as_of.year, 1, 1)
    for indicator, version in sorted(_COUNTED):
        event, population, judged = RULES[indicator, version](dossier, as_of)
        numerator = judged(now) if callable(judged) else judged
        lost = dossier[population & (vietnam_day(event) >= year) & ~numerator.fillna(value=False)]
        for code, unit in zip(lost.dossier_code, lost.unit_code, strict=True):
            yield indicator, version, code, unit


#: Versions of dossiers that answer a target of Đắk Lắk or a component of 766, or that operators are held to.
_COUNTED = {
    ("online-payment", "766-3.6"),
    ("online-processing", "766-3.3"),
    ("electronic-result", "766-4.1"),
    ("digitisation", "766-4.2"),
    ("reuse", "766-4.3"),
    ("personal-store", "766-4.4"),
    ("population-data", "766-4.5b"),
    ("on-time", "766-2.1"),
    ("synchronised", "766-1.4"),
    ("wholly-online", "3478-ii6a"),
    ("internal-circulation", "3478-ii2a"),
    ("accounts-verified", "3478-ii6a"),
    ("reception-in-8-hours", "operators"),
}


def test_the_worklist_adds_up_to_what_the_year_lacks(province: Whole) -> None:
    """Rows by unit and version = denominator − numerator of the published year."""
    for made in province.made:
        listed = made["out_worklist"].query("loss == 'lost'")
        rows = _days(made["out_indicator"].query("scope == 'unit' and boundaries == 'then' and period == 'year'"))
        rows = rows[rows.period_start == f"{made.night.as_of.year}-01-01"]
        key = ["indicator", "version", "unit_code"]
        lacks = (rows.denominator - rows.numerator).groupby([rows[name] for name in key]).sum()
        counted = pd.MultiIndex.from_frame(listed[key]).value_counts()
        lacks = lacks[[pair[:2] in _COUNTED for pair in lacks.index]]
        assert counted.sort_index().to_dict() == lacks[lacks > 0].astype(int).sort_index().to_dict()


def test_no_target_of_the_newest_year_is_silent(province: Whole) -> None:
    """Every target in force has a row for the running year, and whatever is not judged says why."""
    made = province.last
    verdicts = _days(made["out_verdict"])
    newest = verdicts[(verdicts.period_start == f"{made.night.as_of.year}-01-01") & (verdicts.period == "year")]
    today = made.night.as_of.date()
    in_force = {target.target for target in made.targets if target.holds_on(today)}
    assert in_force == set(newest.target)
    unjudged = verdicts[~verdicts.verdict.isin(["met", "missed"])]
    assert unjudged.reason.str.len().gt(10).all()
    assert {"met", "missed", "no_source", "not_applicable", "too_few", "not_yet_due"} >= set(verdicts.verdict)


def test_verdicts_are_what_whole_numbers_say(province: Whole) -> None:
    """Met: n / d reaches the threshold. Missed: it does not, and the gap is the least that would."""
    made = province.last
    thresholds = {
        (target.target, float(target.threshold)): (target.operator, Fraction(target.threshold))
        for target in made.targets
    }
    judged = made["out_verdict"].query("verdict in ['met', 'missed']")
    assert set(judged.verdict) == {"met", "missed"}
    counts = ("target", "threshold", "numerator", "denominator", "gap_dossiers", "verdict")
    for name, threshold, n, d, gap, verdict in zip(*(judged[column] for column in counts), strict=True):
        operator, least = thresholds[name, threshold]
        assert operator in (">=", "=")
        is_met = Fraction(int(n), int(d)) >= least
        assert verdict == ("met" if is_met else "missed"), (name, n, d)
        assert gap == max(0, math.ceil(least * int(d)) - int(n)), (name, n, d)


def test_who_is_judged_has_enough_and_what_is_due(province: Whole) -> None:
    """The counts of every verdict are the published ones; too few, not due, ended and empty are not judged."""
    made = province.last
    wanted = "scope != 'unit' or period == 'year'"
    verdicts = _days(made["out_verdict"].query(wanted))
    rows = _days(made["out_indicator"].query(wanted).query("boundaries == 'then'"))
    key = ["indicator", "version", "scope", "level", "unit_code", "period", "period_start"]
    counted = verdicts[verdicts.denominator.notna()]
    joined = counted.merge(rows, on=key, how="left", suffixes=("", "_published"), validate="many_to_one")
    assert (joined.denominator == joined.denominator_published).all()
    assert (joined.numerator == joined.numerator_published).all()
    due = {(target.target, float(target.threshold)): pd.Timestamp(target.due_on) for target in made.targets}
    last_day = _last_day(joined, made)
    is_judged = joined.verdict.isin(["met", "missed"])
    due_on = pd.Series([due[pair] for pair in zip(joined.target, joined.threshold, strict=True)], index=joined.index)
    assert (last_day >= due_on)[is_judged | (joined.verdict == "too_few")].all()
    minimum = province.here.province.minimum_denominator
    assert (joined.denominator[is_judged] >= minimum).all()
    assert joined.denominator[joined.verdict == "too_few"].between(1, minimum - 1).all()
    assert not (is_judged & (joined.level == "district") & (last_day > pd.Timestamp("2025-06-30"))).any()


def _last_day(rows: pd.DataFrame, made: Made) -> pd.Series[pd.Timestamp]:
    """The day that a verdict speaks of: the period's last one, or the day of knowledge while it runs."""
    end = [
        start + pd.DateOffset(months=PERIODS[kind]) for start, kind in zip(rows.period_start, rows.period, strict=True)
    ]
    today = pd.Timestamp(made.night.as_of).tz_convert(VIETNAM).tz_localize(None).normalize()
    last = pd.Series(end, index=rows.index) - pd.Timedelta(days=1)
    return last.where(last <= today, today)


#: Pairs of months that are explained: neighbours, and the same month a year apart.
_EXPLAINED = (("2026-10", "2026-09"), ("2026-03", "2025-03"))


@pytest.mark.parametrize(("period", "against"), _EXPLAINED)
def test_effects_add_up_to_the_change_of_the_published_rates(province: Whole, period: str, against: str) -> None:
    """Of every definition: the counts are the published ones, and all effects together are their difference."""
    lake, made = province.here.lake, province.last
    whole_province = _days(made["out_indicator"].query("scope == 'province' and period == 'month'"))
    published = {
        (indicator, version, start): (int(n), int(d))
        for indicator, version, start, n, d in _tuples(
            whole_province, "indicator", "version", "period_start", "numerator", "denominator"
        )
    }
    for definition in load_definitions():
        counts = [published[(*definition.key, pd.Timestamp(f"{month}-01"))] for month in (against, period)]
        found = explain(
            lake,
            definition,
            period=Period.parse(period),
            against=Period.parse(against),
            as_of=made.night.as_of,
        )
        assert [found.before, found.after] == counts, definition.key
        # Each rate is shown to a ten-thousandth of a percentage point, half up.
        shown = [int(Fraction(2_000_000 * n + d, 2 * d)) for n, d in counts]
        assert found.change == shown[1] - shown[0]
        for parts in (found.units, found.procedures):
            assert sum(part.rate for part in parts) == found.rate
            assert sum(part.mix for part in parts) == found.mix
            assert found.rate + found.mix == found.change
            assert sum(part.before[1] for part in parts) == counts[0][1]


def test_memberships_are_the_published_counts(province: Whole) -> None:
    """The rows that trace shows, summed by unit and month, of both nights and every definition of dossiers."""
    for made in province.made:
        rows = memberships(made.past, load_definitions(), as_of=made.night.as_of).to_pandas()
        mine = rows[rows.counted_for.isna() | (rows.counted_for == "month")]
        key = ["indicator", "version", "unit_code", "period_start"]
        counted = (
            mine.rename(columns={"month": "period_start"})
            .groupby(key, as_index=False)
            .in_numerator.agg(numerator="sum", denominator="size")
        )
        published = made["out_indicator"].query(
            "scope == 'unit' and boundaries == 'then' and period == 'month' and denominator > 0"
        )
        of_dossiers = [pair in RULES for pair in zip(published.indicator, published.version, strict=True)]
        _assert_same(_days(published[of_dossiers]), _days(counted), key, ["numerator", "denominator"])


def test_memberships_of_each_dossier_are_those_of_the_rules(province: Whole) -> None:
    """Dossier by dossier, against the second count of each rule: denominator, numerator, unit and day."""
    made = province.last
    codes = made.core["core_dossier"].set_index("dossier_key").dossier_code
    rows = memberships(province.here.lake, load_definitions(), as_of=made.night.as_of).to_pandas()
    rows = rows[rows.payment_no.isna() & (rows.counted_for.isna() | (rows.counted_for == "year"))]
    rows = rows.assign(dossier_code=rows.dossier_key.map(codes), event_on=pd.to_datetime(rows.event_on))
    expected = pd.concat([_members(made, pair, "year") for pair in RULES if pair not in OF_PAYMENTS])
    facts = ["unit_code", "event_on", "in_numerator"]
    # What was handed in and never answered has no code yet; it goes by the number of such dossiers.
    uncoded = [each.dossier_code.isna() for each in (rows, expected)]
    assert uncoded[0].sum() == uncoded[1].sum()
    assert set(rows[uncoded[0]].indicator) <= {"reception-in-8-hours"}
    _assert_same(rows[~uncoded[0]], expected[~uncoded[1]], ["indicator", "version", "dossier_code"], facts)


def _members(made: Made, pair: tuple[str, str], kind: str) -> pd.DataFrame:
    dossier, as_of = made.night.truth.dossier, made.night.truth.as_of
    event, population, judged = RULES[pair](dossier, as_of)
    day = vietnam_day(event)
    kept = population & day.notna()
    ends = (period_start(day[kept], kind) + pd.DateOffset(months=PERIODS[kind])).dt.tz_localize(VIETNAM)
    ends = ends.where(ends <= as_of, as_of.tz_convert(VIETNAM)).dt.tz_convert("UTC").reindex(dossier.index)
    numerator = judged(ends) if callable(judged) else judged
    rows = dossier.loc[kept, ["dossier_code", "unit_code"]]
    return rows.assign(
        indicator=pair[0], version=pair[1], event_on=day[kept], in_numerator=numerator[kept].fillna(value=False)
    )


#: The period that is restated: it runs on, and dossiers of its first month change on the second night.
_RESTATED = "2026-Q4"
#: One rule of each kind: by reception and judged at the period's end, by the end, by the promise; payments.
_ASKED = {
    ("on-time", "766-2.1"),
    ("on-time", "766-2.1-resolved"),
    ("on-time", "766-2.1-due"),
    ("wholly-online", "3478-ii6a"),
    ("online-processing", "766-3.3"),
    ("payment-transactions", "3478-ii2a"),
}


@pytest.fixture(scope="module")
def restated(province: Whole) -> list[Restated]:
    """What is counted from dossiers, as the first night knew it and as the last one does."""
    return _restated(province)


def test_what_was_reported_is_found_again(restated: list[Restated]) -> None:
    """Reported then = counted again from the facts of then; and the dossiers between make up the change."""
    assert {(one.indicator, one.version) for one in restated} == _ASKED
    for one in restated:
        assert one.reported == one.recomputed
        assert one.reported is not None
        assert one.now is not None
        for count in ("numerator", "denominator"):
            moved = [getattr(each, f"{count}_now") - getattr(each, f"{count}_then") for each in one.dossiers]
            change = getattr(one.now, count) - getattr(one.reported, count)
            assert change == sum(moved), (one.indicator, one.version)


def test_the_dossiers_between_are_those_whose_truth_changed(province: Whole, restated: list[Restated]) -> None:
    """Each dossier that a rule counts otherwise by the truth of the second night, and no other."""
    period = Period.parse(_RESTATED)
    first, last = pd.Timestamp(period.start), pd.Timestamp(period.end) - pd.Timedelta(days=1)
    codes = pd.concat([made.core["core_dossier"] for made in province.made])
    code_of = dict(zip(codes.dossier_key, codes.dossier_code, strict=True))
    found = {(one.indicator, one.version): one.dossiers for one in restated}
    some = 0
    for pair in _ASKED - OF_PAYMENTS:
        then, now = (_members(made, pair, period.kind) for made in province.made)
        expected = _changed(then[then.event_on.between(first, last)], now[now.event_on.between(first, last)])
        ours = {code_of[each.dossier_key] for each in found[pair]} - {None}
        assert ours == expected - {None}, (pair, ours ^ expected)
        some += len(expected)
    assert some > 0


def _restated(province: Whole) -> list[Restated]:
    then, now = (
        Knowledge(night=made.night.name, as_of=made.night.as_of, lake=made.past, definitions=None)
        for made in (province.first, province.last)
    )
    here = province.here.province
    place: dict[str, Any] = {"province_code": here.province_code, "start_on": here.start_on}
    asked = [one for one in load_definitions() if one.key in _ASKED]
    found = restate(then, now, asked, period=Period.parse(_RESTATED), **place)
    return [one for one in found.figures if one.is_counted]


def _changed(then: pd.DataFrame, now: pd.DataFrame) -> set[str | None]:
    """Codes of dossiers counted in one of the two only, or otherwise."""
    facts = ["dossier_code", "unit_code", "month", "in_numerator"]
    both = [
        set(rows.assign(month=rows.event_on.dt.to_period("M"))[facts].itertuples(index=False, name=None))
        for rows in (then, now)
    ]
    return {code for code, *_ in both[0] ^ both[1]}


def test_every_finding_is_what_the_sources_were_made_to_say(province: Whole) -> None:
    """Dossier by dossier: the kind, how it came about and, of the late, whether another system's dates save it."""
    for made in province.made:
        ours, expected = _findings(province, made)
        _assert_same(ours, expected, ["code", "kind"], ["lateness"])
        told = [rows[rows.kind != "code_mismatch"] for rows in (ours, expected)]
        _assert_same(told[0], told[1], ["code", "kind"], ["pattern"])


def test_a_code_that_differs_says_where_it_comes_from(province: Whole) -> None:
    """The national portal's own code, or a sender's substitute: both stand in the records themselves."""
    for made in province.made:
        ours, expected = (rows[rows.kind == "code_mismatch"] for rows in _findings(province, made))
        _assert_same(ours, expected, ["code", "kind"], ["pattern"])


def _findings(province: Whole, made: Made) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = made["out_reconciliation"][["dossier_code", "kind", "pattern", "lateness"]]
    expected = pd.DataFrame(expected_findings(made.night.truth, province.population))
    return rows.rename(columns={"dossier_code": "code"}).astype(object), expected.astype(object)


def test_every_kind_of_finding_that_honest_senders_leave_occurs(province: Whole) -> None:
    """They are late and leave things out; none of them writes another date, so no lateness is of their making."""
    rows = province.last["out_reconciliation"]
    absences = {"only_in_portal", "only_in_onestop", "only_in_messages", "missing_in_messages"}
    assert set(rows.kind) >= absences | {"status", "due_date", "code_mismatch", "late"}
    assert set(rows.lateness.dropna()) == {"real", "one_source"}
