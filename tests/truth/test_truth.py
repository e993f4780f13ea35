"""Every published count equals the truth: whole nights over invented provinces whose truth is known.

At this level, from HTTP to the published Parquet, because the promise is about what a reader of the
publication sees; and over several seeds, because a number that is right for one province can be right
by chance. The truth is counted by `independent.py`, which shares no code with the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from assets.dossiers.conform import ConformCount
from assets.indicators.definitions import load_definitions
from assets.raw.extraction import SourceCount
from sandbox.broken import BREAKAGES
from sandbox.faults import FaultPlan
from sandbox.traits import Traits
from tests.truth.comparison import dossier_differences, indicator_differences, payment_differences, report
from tests.truth.independent import KEY, RULES, expected_indicators, measured_months, subjects
from tests.truth.nights import House, Night, house

SEEDS = (1, 2, 3478)
DOSSIERS = 3_000
#: One record broken in each known way, beside the dossiers.
SOME_BROKEN = Traits(broken=len(BREAKAGES))


@pytest.fixture(
    scope="module", params=[*(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[:-1]), SEEDS[-1]], ids=str
)
def nights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Night]]:
    """The first night, over everything, and the nights over Sunday, 1 and Monday, 2 November 2026."""
    with house(tmp_path_factory.mktemp("home"), dossiers=DOSSIERS, seed=request.param, traits=SOME_BROKEN) as here:
        yield list(_in_a_row(here, later=2))


def _in_a_row(here: House, *, later: int) -> Iterator[Night]:
    yield (night := here.first_night())
    for _ in range(later):
        yield (night := here.next_night(night))


def _of_dossiers(night: Night) -> pd.DataFrame:
    """The published rows of the rules that are counted a second time here."""
    pairs = pd.DataFrame(list(RULES), columns=["indicator", "version"])
    return night.indicator.merge(pairs, on=["indicator", "version"])


def _assert_counts(night: Night) -> None:
    differences = indicator_differences(_of_dossiers(night), expected_indicators(night.truth))
    if not differences.empty:
        pytest.fail(f"{night.name}: {report('counts', differences, ['indicator', 'version'])}")


def _assert_facts(night: Night) -> None:
    assert len(night.dossier) == night.conformed.dossiers == len(night.truth.dossier)
    for what, differences in (
        ("facts of dossiers", dossier_differences(night.dossier, night.truth)),
        ("facts of payments", payment_differences(night.payment, night.dossier, night.truth)),
    ):
        if not differences.empty:
            pytest.fail(f"{night.name}: {report(what, differences, ['fact'])}")


def _assert_quarantine(night: Night) -> None:
    """In quarantine is what was broken on purpose, each record for its own reason, and nothing else.

    Progress may wait there for its dossier, as long as no source has shown the dossier.
    """
    rows = night.quarantine
    waits = rows.reason == "progress_before_dossier"
    assert not rows.record_key[waits].str.split("|").str[0].isin(night.truth.dossier.dossier_code).any()
    names = ["stage", "source", "record_key", "reason"]
    # A broken record that changes is there once per version.
    found = set(rows.loc[~waits, names].itertuples(index=False, name=None))
    assert found == {tuple(record[name] for name in names) for record in night.broken} != set()


def _assert_rates(night: Night) -> None:
    rows = _of_dossiers(night)
    nothing = rows.denominator == 0
    assert (rows.state[nothing] == "no_denominator").all()
    assert rows.rate[nothing].isna().all()
    assert (rows.state[~nothing] == "ok").all()
    assert (rows.rate[~nothing] == rows.numerator[~nothing] / rows.denominator[~nothing]).all()
    assert (rows.numerator <= rows.denominator).all()


def _assert_accounts(nights: list[Night]) -> None:
    """Rows read = stored + unchanged + quarantined, per source and stage; what was stored is there."""
    for night in nights:
        counts = [_kept(count) for stage in (night.extracted, night.conformed.counts) for count in stage]
        assert all(read == kept for read, kept in counts), (night.name, night.extracted, night.conformed.counts)
        assert [count.source for count in night.extracted] == list(night.raw_rows)
    first = nights[0]
    in_quarantine = first.quarantine.groupby(["stage", "source"]).size().to_dict()
    for stage, counted in (("extract", first.extracted), ("conform", first.conformed.counts)):
        for count in counted:
            assert count.rows_quarantined == in_quarantine.get((stage, count.source), 0), count
    for source, rows in nights[-1].raw_rows.items():
        stored = [count.rows_stored for night in nights for count in night.extracted if count.source == source]
        assert sum(stored) == rows > 0, source


def _kept(count: SourceCount | ConformCount) -> tuple[int, int]:
    return count.rows_read, count.rows_stored + count.rows_unchanged + count.rows_quarantined


def _assert_small(first: Night, later: Night) -> None:
    """A night over one day stores a small part of what the first one did, and of every source after a working day.

    On a Sunday, almost nothing happens; where nothing did, no dossier comes out different.
    """
    stored = [count.rows_stored for count in later.extracted]
    for before, now in zip(first.extracted, stored, strict=True):
        assert now < before.rows_stored / 20, (before, now)
    assert later.conformed.changed <= sum(stored)
    is_after_sunday = later.as_of.weekday() == 0
    assert is_after_sunday or (min(stored) > 0 and later.conformed.changed > 0), later.extracted


def test_every_definition_is_counted_a_second_time() -> None:
    assert {(one.id, one.version) for one in load_definitions()} == set(RULES)


def test_every_published_count_is_true(nights: list[Night]) -> None:
    for night in nights:
        _assert_counts(night)


def test_every_case_of_the_rules_occurs(nights: list[Night]) -> None:
    """What never happens would be true of any rule."""
    dossier = nights[0].truth.dossier
    assert set(dossier.end_kind.dropna()) == {"processed", "returned", "stopped", "denied", "withdrawn", "waiting"}
    assert set(dossier.deadline_basis) == {"promise", "limit", "none"}
    for flags in (
        dossier.received_at > dossier.reception_due_at,
        dossier.ended_at > dossier.deadline_at,
        # Late by the promise as it stands, on time by the rule; and the other way round.
        (dossier.ended_at > dossier.due_at) & (dossier.ended_at <= dossier.deadline_at),
        (dossier.ended_at <= dossier.due_at) & (dossier.supplement_count > 1),
        dossier.previous_unit_code.notna() & dossier.completed_at.notna(),
        dossier.reception_unit_code.notna()
        & dossier.previous_unit_code.isna()
        & (dossier.reception_unit_code != dossier.unit_code),
        dossier.denied_at.isna() & (dossier.status_code == 3),
    ):
        assert flags.any()


def test_every_published_fact_is_true_dossier_by_dossier(nights: list[Night]) -> None:
    for night in nights:
        assert night.dossier.dossier_code.isna().sum() == night.truth.dossier.dossier_code.isna().sum() > 0
        _assert_facts(night)


def test_a_rate_without_denominator_is_no_rate(nights: list[Night]) -> None:
    for night in nights:
        _assert_rates(night)


def test_who_has_no_dossiers_is_shown_while_it_exists(nights: list[Night]) -> None:
    """Rows without dossiers are those of units, levels and the province that exist in the period, no others."""
    for night in nights:
        rows = _of_dossiers(night)
        rows = rows.assign(period_start=pd.to_datetime(rows.period_start).astype("datetime64[us]"))
        existing = subjects(measured_months(night.truth.as_of)).merge(pd.DataFrame(list(RULES)), how="cross")
        existing = existing.rename(columns={0: "indicator", 1: "version"})
        joined = rows.merge(existing, on=KEY, how="outer", indicator=True)
        assert (joined[joined._merge == "left_only"].denominator > 0).all()
        assert (joined._merge != "right_only").all()
        assert (joined.denominator == 0).any()


def test_every_row_is_accounted_for(nights: list[Night]) -> None:
    _assert_accounts(nights)
    for night in nights:
        _assert_quarantine(night)


def test_a_night_after_the_first_brings_its_own_day_only(nights: list[Night]) -> None:
    first, sunday, monday = nights
    assert [night.as_of.isoformat()[:10] for night in nights] == ["2026-11-01", "2026-11-02", "2026-11-03"]
    _assert_small(first, sunday)
    _assert_small(first, monday)


def _assert_all(nights: list[Night]) -> None:
    for night in nights:
        _assert_counts(night)
        _assert_facts(night)
        _assert_rates(night)
        _assert_quarantine(night)
    _assert_accounts(nights)
    for later in nights[1:]:
        _assert_small(nights[0], later)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("seed", "dossiers", "zone_hours"), [(7, 20_000, 0), (20_261_101, 6_000, 7), (99, 6_000, 0)])
def test_three_days_in_a_row_over_larger_provinces(tmp_path: Path, seed: int, dossiers: int, zone_hours: int) -> None:
    """Also of a portal whose index keeps its days in Vietnam's zone instead of UTC."""
    traits = replace(SOME_BROKEN, index_zone_hours=zone_hours)
    with house(tmp_path, dossiers=dossiers, seed=seed, traits=traits) as here:
        _assert_all(list(_in_a_row(here, later=3)))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [1, 5])
def test_a_bad_day_of_the_sources_changes_nothing(tmp_path: Path, seed: int) -> None:
    plan = FaultPlan(seed=seed)
    with house(tmp_path, dossiers=DOSSIERS, seed=seed, faults=plan, traits=SOME_BROKEN) as here:
        _assert_all(list(_in_a_row(here, later=2)))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("seed", "zone_hours", "faults"), [(1, 0, None), (2, 7, FaultPlan(seed=2))])
def test_what_is_deleted_leaves_every_published_number(
    tmp_path: Path, seed: int, zone_hours: int, faults: FaultPlan | None
) -> None:
    """Dossiers that only the portal or only the one-stop holds are deleted there: first by sign, then for good."""
    traits = Traits(index_zone_hours=zone_hours)
    with house(tmp_path, dossiers=DOSSIERS, seed=seed, faults=faults, traits=traits, deleted_one_in=1) as here:
        here.compare_everything_each_night()
        nights = list(_in_a_row(here, later=3))
    for night in nights:
        _assert_counts(night)
        _assert_facts(night)
    gone = [sum(count.rows_gone for count in night.extracted) for night in nights]
    assert gone[0] == 0 < sum(gone), gone
