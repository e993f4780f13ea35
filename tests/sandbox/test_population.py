"""The invented province adds up: sources overlap, levels sum, nothing happens out of order.

Straight on the truth tables, without a server: these are the identities that every comparison of the
product against the sandbox leans on.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from sandbox.calendar import working_calendar
from sandbox.people import MARKS, people
from sandbox.population import DEFAULT_CLOCK, NEVER, REORGANISED_AT, VIETNAM, Population, build_population, seconds
from sandbox.province_files import province_files
from sandbox.territory import PROVINCE_FOLDER, territory

CUT = pd.Timestamp(REORGANISED_AT)


@pytest.fixture(scope="module")
def dossiers() -> pd.DataFrame:
    """The truth of 20,000 dossiers at the default clock."""
    frame: pd.DataFrame = build_population(20_000).truth(DEFAULT_CLOCK)["dossier"].to_pandas()
    return frame


def test_the_seed_decides_everything() -> None:
    one, same, other = (build_population(500, seed=seed).truth(DEFAULT_CLOCK) for seed in (1, 1, 2))
    assert one["dossier"].equals(same["dossier"])
    assert one["payment"].equals(same["payment"])
    assert not one["dossier"].equals(other["dossier"])


@pytest.mark.parametrize("count", [1, 7, 500])
def test_as_many_dossiers_as_asked_up_to_the_clock(count: int) -> None:
    assert build_population(count).truth(DEFAULT_CLOCK)["dossier"].num_rows == count


def test_no_dossiers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one dossier"):
        build_population(0)


def test_sources_overlap_as_published(dossiers: pd.DataFrame) -> None:
    sources = dossiers[["in_portal", "in_onestop", "in_messages"]]
    assert sources.any(axis=1).all()
    assert (sources.sum(axis=1) >= 2).mean() == pytest.approx(0.85, abs=0.02)
    assert sources.mean().to_dict() == pytest.approx(
        {"in_portal": 0.45, "in_onestop": 0.92, "in_messages": 0.85}, abs=0.03
    )


def test_codes_are_unique_and_only_portal_drafts_have_none(dossiers: pd.DataFrame) -> None:
    without = dossiers[dossiers.dossier_code.isna()]
    assert len(without) > 10
    assert (without.in_portal & ~without.in_onestop & ~without.in_messages & (without.status_code == 1)).all()
    assert without.received_at.isna().all()
    assert dossiers.dossier_code.dropna().is_unique


def test_counts_close_over_levels_and_statuses(dossiers: pd.DataFrame) -> None:
    assert set(dossiers.status_code) == set(range(1, 11))
    assert set(dossiers.unit_level) == {"province", "district", "commune"}
    payments = build_population(20_000).truth(DEFAULT_CLOCK)["payment"]
    assert payments.num_rows == dossiers.transaction_count.sum()
    online = pc.sum(pc.equal(payments["method"], "online")).as_py()
    assert online == dossiers.online_transaction_count.sum() > 0


def test_order_of_dates(dossiers: pd.DataFrame) -> None:
    for earlier, later in (
        ("submitted_at", "received_at"),
        ("received_at", "completed_at"),
        ("received_at", "due_at"),
        ("completed_at", "returned_at"),
        ("received_at", "paid_at"),
    ):
        both = dossiers.dropna(subset=[earlier, later])
        assert len(both)
        assert (both[earlier] <= both[later]).all(), (earlier, later)
    for name in ("submitted_at", "received_at", "completed_at", "returned_at", "paid_at"):
        assert dossiers[name].max() <= pd.Timestamp(DEFAULT_CLOCK), name


def test_parts_never_exceed_the_whole(dossiers: pd.DataFrame) -> None:
    for part in ("component_attached", "component_digitised", "component_reused"):
        assert (dossiers[part] <= dossiers.component_count).all(), part
    assert (dossiers.online_transaction_count <= dossiers.transaction_count).all()
    assert (dossiers.transaction_count <= dossiers.fee_line_count).all()
    assert (dossiers[dossiers.fee_waived].transaction_count == 0).all()
    assert dossiers[dossiers.fee_line_count > 0].has_fee.all()


def test_what_one_source_alone_can_tell_is_true_only_there(dossiers: pd.DataFrame) -> None:
    outside = dossiers[~dossiers.in_messages]
    assert (outside[["component_digitised", "component_reused", "supplement_count"]] == 0).all(axis=None)
    assert not outside.vneid_verified.any()
    assert (dossiers[~dossiers.in_onestop].transaction_count <= 1).all()
    assert (dossiers[~dossiers.in_onestop & ~dossiers.in_portal].transaction_count == 0).all()
    assert not dossiers[~dossiers.in_messages & ~dossiers.in_portal].electronic_result.any()


def test_progress_may_come_a_day_before_its_dossier() -> None:
    population = build_population(20_000)
    seen = 0
    for days in range(1, 12, 2):
        at = DEFAULT_CLOCK - timedelta(days=days)
        dossiers = population.truth(at)["dossier"].to_pandas()
        early = dossiers[~dossiers.in_messages & (dossiers.step_count > 0)]
        assert (early.in_portal | early.in_onestop).all()
        assert (early.submitted_at > pd.Timestamp(at) - timedelta(days=9)).all()
        seen += len(early)
    assert 0 < seen < 60


def test_units_handle_only_in_their_time(dossiers: pd.DataFrame) -> None:
    """Nothing of a district or old commune is received, or ends, after 2025-06-30; nothing of a new one ends before.

    But where no one successor is known, a few dossiers stay with the unit that every source goes on naming.
    """
    old = dossiers.unit_code.str.count(r"\.").eq(2) | dossiers.unit_level.eq("district")
    new = dossiers.unit_level.eq("commune") & dossiers.unit_code.str.count(r"\.").eq(1)
    ended = dossiers.completed_at.fillna(dossiers.returned_at)
    # An open one was handed over: what stays with an old unit has come to an end, or was refused.
    over = (ended < CUT) | (ended.isna() & dossiers.status_code.eq(3))
    left = dossiers[old & ~over]
    assert (dossiers[old & over].received_at.dropna() < CUT).all()
    # Xã Ea D'Rơng and Xã Ea BHốk each went to two communes.
    assert (left.unit_level.eq("district") | left.unit_code.str.endswith((".24292", ".24550"))).all()
    assert left.unit_level.value_counts().min() > 3
    assert (ended[new].dropna() >= CUT).all()
    handed = dossiers[new & (dossiers.submitted_at < CUT)]
    assert len(handed) > 50


def test_a_commune_is_handed_to_its_first_successor() -> None:
    place = territory()
    index = {unit.code: number for number, unit in enumerate(place.units)}
    # Phường Tân Lập and Phường Tân Tiến of Buôn Ma Thuột, by the resolution's crosswalk.
    assert place.units[place.successor[index["H15.643.24118"]]].name == "Phường Tân Lập"
    assert [len(part) for part in (place.department, place.district, place.old_commune, place.new_commune)] == [
        12,
        15,
        180,
        102,
    ]
    assert place.department[0] == 0
    assert place.new_commune[-1] == len(place.units) - 1


def test_procedures_fit_their_level(dossiers: pd.DataFrame) -> None:
    levels = territory().procedures.set_index("procedure_code").levels
    said = dossiers.assign(levels=dossiers.procedure_code.map(levels))
    # What a district handed to a department may be a commune's procedure.
    fresh = said[~said.submitted_at.lt(CUT)]
    assert fresh[fresh.unit_level == "commune"].levels.str.contains("Cấp xã").all()
    assert fresh[fresh.unit_level == "province"].levels.str.contains("Cấp tỉnh").all()
    assert 200 <= len(set(dossiers.procedure_code)) <= 300


def test_rates_differ_by_level_so_that_targets_are_met_and_missed(dossiers: pd.DataFrame) -> None:
    received = dossiers[dossiers.received_at.notna() & (dossiers.received_at >= pd.Timestamp("2025-01-01", tz=VIETNAM))]
    by_level = received.groupby("unit_level")
    online = by_level.channel.apply(lambda channel: (channel == "online").mean())
    assert online["province"] < 0.5 < online["commune"]
    reused = by_level.component_reused.apply(lambda count: (count > 0).mean())
    assert reused["province"] < reused["commune"]
    sums = by_level[["online_transaction_count", "transaction_count"]].sum()
    share = sums.online_transaction_count / sums.transaction_count
    assert share["district"] < 0.3 < share["commune"]
    done = received.dropna(subset=["completed_at", "due_at"])
    on_time = (done.completed_at <= done.due_at).groupby(done.unit_level).mean()
    assert on_time.between(0.85, 0.995).all()


def test_awkward_moments_occur(dossiers: pd.DataFrame) -> None:
    local = dossiers.received_at.dropna().dt.tz_convert(VIETNAM)
    near = ((local + timedelta(minutes=30)).dt.day == 1) & ((local + timedelta(minutes=30)).dt.hour == 0)
    assert near.sum() > 10
    assert (local.dt.date == date(2024, 2, 29)).sum() > 3
    assert (dossiers.completed_at == dossiers.due_at).sum() > 5
    assert (dossiers.received_at.notna() & dossiers.due_at.isna()).sum() > 20
    assert (dossiers.returned_at.notna() & dossiers.completed_at.isna()).sum() > 20
    assert (dossiers.supplement_count == 2).sum() > 20
    assert (dossiers.status_code.eq(3) & dossiers.received_at.notna()).any()


def test_due_days_are_working_days(dossiers: pd.DataFrame) -> None:
    days = dossiers.due_at.dropna().dt.tz_convert(VIETNAM).dt.tz_localize(None).dt.normalize()
    assert working_calendar().is_working(days.to_numpy().astype("datetime64[D]").astype(np.int64)).all()
    off, made_up, ordinary = (
        np.array([np.datetime64(day, "D").astype(int)]) for day in ("2025-05-02", "2025-04-26", "2025-04-19")
    )
    assert not working_calendar().is_working(off)[0]
    assert working_calendar().is_working(made_up)[0]
    assert not working_calendar().is_working(ordinary)[0]


def test_the_future_is_not_in_the_past() -> None:
    """Moving the clock changes only dossiers to which something happens in between, or whose message comes late."""
    population = build_population(3_000, seed=4)
    before, after = datetime(2025, 3, 1, tzinfo=VIETNAM), datetime(2025, 3, 4, tzinfo=VIETNAM)
    past, present = (population.truth(at)["dossier"].to_pandas() for at in (before, after))
    logged = population.whole("logged")
    late = np.flatnonzero((logged > seconds(before)) & (logged <= seconds(after)))
    moved = np.union1d(population.changed(seconds(before), seconds(after)), late)
    touched = pd.to_datetime(population.whole("submitted")[moved], unit="s", utc=True)
    still = past[~past.submitted_at.isin(touched)].reset_index(drop=True)
    same = present[present.submitted_at.isin(still.submitted_at) & ~present.submitted_at.isin(touched)]
    pd.testing.assert_frame_equal(still, same.reset_index(drop=True))
    assert 0 < len(past) - len(still) <= len(moved)


def test_nobody_in_it_is_real() -> None:
    for person in people():
        for text in (person.name, person.name.upper(), person.identity_number, person.phone, person.email, person.slug):
            assert any(mark in text for mark in MARKS), text


def test_provincial_files_are_what_the_generator_writes() -> None:
    for name, content in province_files().items():
        assert (PROVINCE_FOLDER / name).read_text(encoding="utf-8") == content, (
            f"{name}: run python -m sandbox.province_files"
        )


def test_never_is_later_than_any_instant(population: Population) -> None:
    assert population.whole("submitted").max() < NEVER
