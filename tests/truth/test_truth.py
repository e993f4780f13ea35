"""Every published count equals the truth: whole nights over invented provinces whose truth is known.

At this level, from HTTP to the published Parquet, because the promise is about what a reader of the
publication sees; and over several seeds, because a number that is right for one province can be right
by chance. The truth is counted by `independent.py`, which shares no code with the product.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from assets.dossiers.conform import ConformCount
from assets.raw.extraction import SourceCount
from sandbox.faults import FaultPlan
from tests.truth.comparison import dossier_differences, indicator_differences, payment_differences, report
from tests.truth.independent import RULES, expected_indicators, measured_months, subjects
from tests.truth.nights import Night, house

SEEDS = (1, 2, 3478)
DOSSIERS = 3_000


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed-{seed}")
def nights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Night]]:
    """The first night, over everything, and the next one, over the first day of November 2026."""
    with house(tmp_path_factory.mktemp("home"), dossiers=DOSSIERS, seed=request.param) as here:
        first = here.first_night()
        yield [first, here.next_night(first)]


def _assert_counts(night: Night) -> None:
    differences = indicator_differences(night.indicator, expected_indicators(night.truth))
    assert differences.empty, f"{night.name}: {report('counts', differences)}"


def _assert_facts(night: Night) -> None:
    assert len(night.dossier) == night.conformed.dossiers == len(night.truth.dossier)
    dossiers = dossier_differences(night.dossier, night.truth, refused=_refused(night))
    assert dossiers.empty, f"{night.name}: {report('facts', dossiers)}"
    payments = payment_differences(night.payment, night.dossier, night.truth)
    assert payments.empty, f"{night.name}: {report('payments', payments)}"


def _refused(night: Night) -> set[str]:
    """Codes of one-stop records that broke the contract: without a date of submission or reception, nothing else."""
    rows = night.quarantine
    assert set(rows.stage) <= {"extract"}, rows
    assert set(rows.source + " " + rows.reason) <= {"onestop some_date_present"}, rows
    codes = {json.loads(excerpt)["code"] for excerpt in rows.excerpt}
    mine = night.truth.dossier[night.truth.dossier.dossier_code.isin(codes)]
    # They were never received, so that no count can lack them; and another source tells the rest.
    assert len(mine) == len(codes)
    assert mine.received_at.isna().all()
    assert (mine.in_portal | mine.in_messages).all()
    return codes


def _assert_rates(night: Night) -> None:
    rows = night.indicator
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
        assert [count.source for count in night.extracted] == ["portal", "onestop", "messages", "progress"]
        assert [count.rows_quarantined for count in night.conformed.counts] == [0, 0, 0, 0], night.conformed.counts
    for source, rows in nights[-1].raw_rows.items():
        stored = [count.rows_stored for night in nights for count in night.extracted if count.source == source]
        assert sum(stored) == rows > 0, source


def _kept(count: SourceCount | ConformCount) -> tuple[int, int]:
    return count.rows_read, count.rows_stored + count.rows_unchanged + count.rows_quarantined


def _assert_small(first: Night, later: Night) -> None:
    """A night over one day stores something of every source, and a small part of what the first one did."""
    for before, now in zip(first.extracted, later.extracted, strict=True):
        assert 0 < now.rows_stored < before.rows_stored / 20, (before, now)
    assert 0 < later.conformed.changed < first.conformed.changed / 20


def test_every_published_count_is_true(nights: list[Night]) -> None:
    for night in nights:
        assert set(zip(night.indicator.indicator, night.indicator.version, strict=True)) == set(RULES)
        _assert_counts(night)


def test_every_published_fact_is_true_dossier_by_dossier(nights: list[Night]) -> None:
    for night in nights:
        assert night.dossier.dossier_code.isna().sum() == night.truth.dossier.dossier_code.isna().sum() > 0
        _assert_facts(night)


def test_a_rate_without_denominator_is_no_rate(nights: list[Night]) -> None:
    for night in nights:
        _assert_rates(night)


def _keys(rows: pd.DataFrame) -> set[tuple[Any, ...]]:
    return set(rows.itertuples(index=False, name=None))


def test_who_has_no_dossiers_is_shown_while_it_exists(nights: list[Night]) -> None:
    """Rows without dossiers are those of units, levels and the province that exist in the period, no others."""
    names = ["scope", "level", "unit_code", "period", "period_start"]
    for night in nights:
        rows = night.indicator.assign(
            period_start=pd.to_datetime(night.indicator.period_start).astype("datetime64[us]")
        )
        existing = subjects(measured_months(night.truth.as_of))
        counted = rows[rows.denominator > 0]
        for pair, mine in rows.groupby(["indicator", "version"]):
            with_dossiers = counted[(counted.indicator == pair[0]) & (counted.version == pair[1])]
            without = set(mine[mine.denominator == 0][names].itertuples(index=False, name=None))
            alive = set(existing[names].itertuples(index=False, name=None))
            assert without == alive - set(with_dossiers[names].itertuples(index=False, name=None)), pair


def test_every_row_is_accounted_for(nights: list[Night]) -> None:
    _assert_accounts(nights)


def test_the_second_night_brings_the_second_day_only(nights: list[Night]) -> None:
    first, second = nights
    assert (first.as_of.month, second.as_of.day) == (11, 2)
    _assert_small(first, second)


def _assert_all(nights: list[Night]) -> None:
    for night in nights:
        _assert_counts(night)
        _assert_facts(night)
        _assert_rates(night)
    _assert_accounts(nights)
    for later in nights[1:]:
        _assert_small(nights[0], later)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("seed", "dossiers"), [(7, 20_000), (20_261_101, 6_000), (99, 6_000)])
def test_three_days_in_a_row_over_larger_provinces(tmp_path: Path, seed: int, dossiers: int) -> None:
    with house(tmp_path, dossiers=dossiers, seed=seed) as here:
        nights = [here.first_night()]
        for _ in range(3):
            nights.append(here.next_night(nights[-1]))
        _assert_all(nights)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [1, 5])
def test_a_bad_day_of_the_sources_changes_nothing(tmp_path: Path, seed: int) -> None:
    with house(tmp_path, dossiers=DOSSIERS, seed=seed, faults=FaultPlan(seed=seed)) as here:
        first = here.first_night()
        _assert_all([first, here.next_night(first)])
