"""The dossiers' indicators computed a second time: pandas, straight from the truth's Parquet files.

Belongs here: the rules once more, as an analyst would write them down from the texts (domain notes on
the 766 formulas, Decision 3478, the notes of the definition files), and the units that exist in each
period. Does not belong here: anything of the product; nothing is imported from it, so that a wrong
rule, join, zone or sum on one side is a difference between the two.

Every rule yields one row per dossier or payment that it counts; `expected_indicators` sums them up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import pandas as pd

PROVINCE = "H15"
VIETNAM = "Asia/Ho_Chi_Minh"
#: Extraction of the practice province begins here; every earlier period would be incomplete.
FIRST_MONTH = pd.Timestamp("2024-01-01")
#: Law on Local Government 2025: last day of the districts and of the communes as they were.
LAST_DISTRICT_DAY = "2025-06-30"
FIRST_TWO_TIER_DAY = "2025-07-01"
#: For units whose first day no list states.
LONG_AGO = "1900-01-01"
KEY = ["indicator", "version", "scope", "level", "unit_code", "boundaries", "period", "period_start"]
#: Months of each kind of period.
PERIODS = {"month": 1, "quarter": 3, "half": 6, "year": 12}
_ROOT = Path(__file__).resolve().parents[2]
_REFERENCE = _ROOT / "warehouse" / "reference"
_DEPARTMENTS = _ROOT / "provinces" / "dak-lak" / "departments.csv"


@dataclass(frozen=True)
class Truth:
    """What is really so at an instant: the truth's two tables, read from the sandbox's files.

    `payment` carries what its dossier says besides: unit, level, has_fee.
    """

    dossier: pd.DataFrame
    payment: pd.DataFrame
    as_of: pd.Timestamp


def read_truth(home: Path, as_of: datetime) -> Truth:
    """The truth below `home` at its clock, which must stand at `as_of`."""
    folder = home / "sandbox" / "truth"
    dossier = pd.read_parquet(folder / "dossier.parquet")
    told = dossier.dropna(subset="dossier_code")[["dossier_code", "unit_code", "unit_level", "has_fee"]]
    payment = pd.read_parquet(folder / "payment.parquet").merge(
        told, on="dossier_code", how="left", validate="many_to_one"
    )
    return Truth(dossier, payment, pd.Timestamp(as_of))


def vietnam_day(instants: pd.Series[pd.Timestamp]) -> pd.Series[pd.Timestamp]:
    """The calendar day in Vietnam of UTC instants, as midnight without a zone; NaT stays."""
    return instants.dt.tz_convert(VIETNAM).dt.tz_localize(None).dt.normalize().astype("datetime64[us]")


def is_received(dossier: pd.DataFrame) -> pd.Series[bool]:
    """Status groups of 5.4: received = a reception date, and not in 1 (mới đăng ký) or 3 (không được tiếp nhận)."""
    return dossier.received_at.notna() & ~dossier.status_code.isin([1, 3])


def resolved_at(dossier: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """5.4 and 2.2: done = 9 or 10; "Đã xử lý xong" wins over "Đã trả kết quả"; NaT for what is not done."""
    end = dossier.completed_at.where(dossier.completed_at.notna(), dossier.returned_at)
    return end.where(dossier.status_code.isin([9, 10]))


def is_waived(dossier: pd.DataFrame) -> pd.Series[bool]:
    """3.6: "hồ sơ mà mọi dòng phí đều bằng 0"; without a fee line there is nothing that is 0."""
    return (dossier.fee_line_count > 0) & dossier.fee_waived


#: In the numerator or not; what depends on the period is told the first instant after each dossier's.
Judged = Callable[["pd.Series[pd.Timestamp]"], "pd.Series[bool]"]
#: Event, population, numerator.
Counted = tuple["pd.Series[pd.Timestamp]", "pd.Series[bool]", "pd.Series[bool] | Judged"]
Rule = Callable[[pd.DataFrame, pd.Timestamp], Counted]


def _online_processing_766_3_3(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 3.3: received in the period; channel 2 (online) AND an electronic result when the procedure returns one."""
    result = ~dossier.is_result_required | dossier.electronic_result
    return dossier.received_at, is_received(dossier), (dossier.channel == "online") & result


def _online_processing_vendor(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """A vendor's 766 report: KenhThucHien IN ('1', '2'), so post is in neither count; no look at the result."""
    counted = is_received(dossier) & dossier.channel.isin(["direct", "online"])
    return dossier.received_at, counted, dossier.channel == "online"


def _online_payment_766_3_6(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 3.6: dossiers of procedures with a fee, MINUS those whose every fee line is 0; dated by reception."""
    counted = is_received(dossier) & dossier.has_fee & ~is_waived(dossier)
    return dossier.received_at, counted, dossier.paid_online


def _online_payment_vendor(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """A vendor's 766 report (2.3): paid dossiers only, dated by collection, each once."""
    return dossier.paid_at, dossier.has_fee & (dossier.transaction_count > 0), dossier.online_transaction_count > 0


def _payment_transactions_3478(payment: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """3478, II.2.a: of procedures with a financial obligation, "tỷ lệ giao dịch thanh toán trực tuyến".

    Transactions collected and not paid back, dated by collection; chuyển khoản is not online (5.7).
    """
    return payment.paid_at, payment.has_fee, payment.method == "online"


def _electronic_result_766_4_1(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 4.1: with a result file, of dossiers whose procedure returns a paper result."""
    return dossier.received_at, is_received(dossier) & dossier.is_result_required, dossier.electronic_result


def _digitisation_766_4_2(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 4.2: attached files in the components AND an electronic result where one is due."""
    result = ~dossier.is_result_required | dossier.electronic_result
    return dossier.received_at, is_received(dossier), (dossier.component_attached > 0) & result


def _reuse_766_4_3(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 4.3: at least one component marked reused; no reception date = not counted."""
    return dossier.received_at, is_received(dossier), dossier.component_reused > 0


def _wholly_online_3478(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """3478, II.6.a "xử lý hoàn toàn trực tuyến": online in, a step on record, e-result, and paid online if a fee."""
    paid = ~dossier.has_fee | is_waived(dossier) | dossier.paid_online
    wholly = (dossier.channel == "online") & (dossier.step_count > 0) & dossier.electronic_result & paid
    return dossier.received_at, is_received(dossier), wholly


def _on_time_766_2_1(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 2.1 over what was received, refused ones too (2.2: "only dossiers already received").

    More than one request for a supplement is late. What has not ended is judged on the period's last day.
    """

    def in_time(period_end: pd.Series[pd.Timestamp]) -> pd.Series[bool]:
        end = dossier.ended_at.fillna(period_end)
        return ~_sent_back_twice(dossier) & (dossier.deadline_at.isna() | (end <= dossier.deadline_at))

    return dossier.received_at, dossier.received_at.notna() & (dossier.status_code != 1), in_time


def _on_time_766_2_1_resolved(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 2.1 over what has ended, dated by the end; who is waited for has not ended."""
    in_time = dossier.deadline_at.isna() | (dossier.ended_at <= dossier.deadline_at)
    over = dossier.end_kind.notna() & (dossier.end_kind != "waiting")
    return dossier.ended_at, over, ~_sent_back_twice(dossier) & in_time


def _on_time_766_2_1_due(dossier: pd.DataFrame, as_of: pd.Timestamp) -> Counted:
    """766, 2.1 over what had to be returned by now, dated by the promise; what is open ends now."""
    counted = is_received(dossier) & (dossier.due_at <= as_of)
    in_time = dossier.ended_at.fillna(as_of) <= dossier.deadline_at
    return dossier.due_at, counted, ~_sent_back_twice(dossier) & in_time


def _on_time_provincial(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """A provincial system (2.2): days only, no promise is on time, withdrawn is added to on time."""
    counted = is_received(dossier) & dossier.end_kind.isin(["processed", "returned", "withdrawn"])
    in_time = dossier.due_at.isna() | (vietnam_day(dossier.ended_at) <= vietnam_day(dossier.due_at))
    return dossier.ended_at, counted, (dossier.end_kind == "withdrawn") | in_time


def _sent_back_twice(dossier: pd.DataFrame) -> pd.Series[bool]:
    """2.2: "MORE THAN ONE supplement request makes the dossier late"."""
    return dossier.supplement_count > 1


def _synchronised_766_1_4(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 1.4: sent to the national portal, of what was received in the period."""
    return dossier.received_at, is_received(dossier), dossier.in_messages


def _personal_store_766_4_4(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 4.4: at least one file taken from the personal store."""
    return dossier.received_at, is_received(dossier), dossier.is_from_personal_store


def _population_data_766_4_5b(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 4.5b: the account verified by VNeID, or a file from the store, or the population's database named."""
    used = dossier.vneid_verified | dossier.is_from_personal_store | dossier.is_population_data_used
    return dossier.received_at, is_received(dossier), used


def _internal_circulation_3478(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """3478, II.2.a: of the resolved, those with a step on record."""
    end = resolved_at(dossier)
    return end, is_received(dossier) & end.notna(), dossier.step_count > 0


def _accounts_verified_3478(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """3478, II.6.a (D6), as near as dossiers tell: online ones whose account VNeID verified."""
    counted = is_received(dossier) & (dossier.channel == "online")
    return dossier.received_at, counted, dossier.vneid_verified


def _reception_in_8_hours(dossier: pd.DataFrame, as_of: pd.Timestamp) -> Counted:
    """Operators: online dossiers received or refused within 8 working hours, of those that were or had to be."""
    answered = dossier.received_at.fillna(dossier.denied_at)
    counted = (dossier.channel == "online") & (answered.notna() | (dossier.reception_due_at <= as_of))
    return dossier.submitted_at, counted, answered <= dossier.reception_due_at


def _waiting(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """Operators: waits for the citizen's papers (5) or payment (6)."""
    return dossier.received_at, is_received(dossier), dossier.status_code.isin([5, 6])


def _stopped(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """Operators: "Dừng xử lý" (8)."""
    return dossier.received_at, is_received(dossier), dossier.status_code == 8


#: (indicator, version) → rule. Both documents, 766 of 2022-06-23 and 3478 of 2021-12-10, are in force in every
#: period measured here.
RULES: dict[tuple[str, str], Rule] = {
    ("online-processing", "766-3.3"): _online_processing_766_3_3,
    ("online-processing", "vendor-td"): _online_processing_vendor,
    ("online-payment", "766-3.6"): _online_payment_766_3_6,
    ("online-payment", "vendor-td"): _online_payment_vendor,
    ("payment-transactions", "3478-ii2a"): _payment_transactions_3478,
    ("electronic-result", "766-4.1"): _electronic_result_766_4_1,
    ("digitisation", "766-4.2"): _digitisation_766_4_2,
    ("reuse", "766-4.3"): _reuse_766_4_3,
    ("wholly-online", "3478-ii6a"): _wholly_online_3478,
    ("on-time", "766-2.1"): _on_time_766_2_1,
    ("on-time", "766-2.1-resolved"): _on_time_766_2_1_resolved,
    ("on-time", "766-2.1-due"): _on_time_766_2_1_due,
    ("on-time", "provincial"): _on_time_provincial,
    ("synchronised", "766-1.4"): _synchronised_766_1_4,
    ("personal-store", "766-4.4"): _personal_store_766_4_4,
    ("population-data", "766-4.5b"): _population_data_766_4_5b,
    ("internal-circulation", "3478-ii2a"): _internal_circulation_3478,
    ("accounts-verified", "3478-ii6a"): _accounts_verified_3478,
    ("reception-in-8-hours", "operators"): _reception_in_8_hours,
    ("waiting", "operators"): _waiting,
    ("stopped", "operators"): _stopped,
}
#: Rules that count payments; all others count dossiers.
OF_PAYMENTS = {("payment-transactions", "3478-ii2a")}


def expected_indicators(truth: Truth) -> pd.DataFrame:
    """Every row that must be published: KEY, numerator, denominator.

    A row for each unit, level and the province in every month, quarter, half and year in which it exists,
    counts or not; and a row wherever something is counted (a dossier handed over on 2025-07-01 counts for the
    new commune in the month it was received, before the commune existed). On today's boundaries, a row for
    each commune of today in every period.
    """
    months = measured_months(truth.as_of)
    counts = pd.concat([_counts(truth, pair, months) for pair in RULES], ignore_index=True)
    sums = _by_scope(counts).groupby(KEY, as_index=False)[["numerator", "denominator"]].sum()
    full = _existing_rows(months[-1]).merge(sums, on=KEY, how="outer")
    return full.fillna({"numerator": 0, "denominator": 0}).astype({"numerator": "int64", "denominator": "int64"})


@cache
def _existing_rows(last_month: pd.Timestamp) -> pd.DataFrame:
    """Who is shown when, for every rule."""
    pairs = pd.DataFrame(list(RULES), columns=["indicator", "version"])
    return subjects(pd.date_range(FIRST_MONTH, last_month, freq="MS", unit="us")).merge(pairs, how="cross")


def measured_months(as_of: pd.Timestamp) -> pd.DatetimeIndex:
    """First days of the months from January 2024 to the one that the last known moment lies in, in Vietnam."""
    last = (as_of - pd.Timedelta(1, "us")).tz_convert(VIETNAM).tz_localize(None)
    return pd.date_range(FIRST_MONTH, last, freq="MS", unit="us")


def _counts(truth: Truth, pair: tuple[str, str], months: pd.DatetimeIndex) -> pd.DataFrame:
    """Counts of one rule by unit and period of every kind."""
    facts = truth.payment if pair in OF_PAYMENTS else truth.dossier
    event, population, numerator = RULES[pair](facts, truth.as_of)
    day = vietnam_day(event)
    kept = population & day.notna() & (day < months[-1] + pd.offsets.MonthBegin(1)) & (day >= months[0])
    units, day = facts.loc[kept, ["unit_level", "unit_code"]].rename(columns={"unit_level": "level"}), day[kept]
    parts = []
    for period in PERIODS:
        start = period_start(day, period)
        judged = numerator(_period_end(start, period, truth.as_of)) if callable(numerator) else numerator
        single = units.assign(numerator=judged[kept], denominator=1, period_start=start)
        sums = single.groupby(["level", "unit_code", "period_start"], as_index=False)[
            ["numerator", "denominator"]
        ].sum()
        parts.append(sums.assign(period=period))
    return pd.concat(parts).assign(indicator=pair[0], version=pair[1])


def period_start(day: pd.Series[pd.Timestamp], period: str) -> pd.Series[pd.Timestamp]:
    """First day of the period of each day, none of which may be missing."""
    # Months since January 1970: twelve, six and three of them begin with the year.
    month = day.to_numpy().astype("datetime64[M]").astype("int64")
    first = month - month % PERIODS[period]
    return pd.Series(first.astype("datetime64[M]").astype("datetime64[us]"), index=day.index)


def _period_end(start: pd.Series[pd.Timestamp], period: str, as_of: pd.Timestamp) -> pd.Series[pd.Timestamp]:
    """First instant after the period in Vietnam, or what is known last if that comes first."""
    end = (start + pd.DateOffset(months=PERIODS[period])).dt.tz_localize(VIETNAM)
    return end.where(end <= as_of, as_of.tz_convert(VIETNAM)).dt.tz_convert("UTC")


def _by_scope(rows: pd.DataFrame) -> pd.DataFrame:
    """Each row for its unit, its level and the province as they were then; and for the commune it is now."""
    today = communes_of_today()
    now = rows.unit_code.map(today)
    return pd.concat(
        [
            rows.assign(scope="unit", boundaries="then"),
            rows.assign(scope="level", boundaries="then", unit_code=PROVINCE),
            rows.assign(scope="province", boundaries="then", level="all", unit_code=PROVINCE),
            rows.assign(scope="unit", boundaries="now", unit_code=now)[now.notna()],
        ]
    )


def subjects(months: pd.DatetimeIndex) -> pd.DataFrame:
    """Who is shown when: scope, level, unit_code, boundaries, period, period_start.

    By months that a unit's life touches; a commune of today, on today's boundaries, in every month.
    """
    month = pd.DataFrame({"month": months})
    pairs = read_units().merge(month, how="cross")
    month_end = pairs.month + pd.offsets.MonthEnd(0)
    alive = (pairs.valid_from <= month_end) & (pairs.valid_to.isna() | (pairs.valid_to >= pairs.month))
    shown = _by_scope(_in_periods(pairs[alive]))
    today = _in_periods(pairs[(pairs.level == "commune") & pairs.valid_to.isna()])
    now = today.assign(scope="unit", boundaries="now")
    return pd.concat([shown[shown.boundaries == "then"], now]).drop_duplicates(ignore_index=True)


def _in_periods(rows: pd.DataFrame) -> pd.DataFrame:
    """Units of months as units of the periods that the months lie in."""
    units = rows[["level", "unit_code"]]
    parts = [units.assign(period=period, period_start=period_start(rows.month, period)) for period in PERIODS]
    return pd.concat(parts).drop_duplicates()


@cache
def communes_of_today() -> dict[str, str]:
    """The commune of today of each commune: itself, or the only one that an old one went to whole.

    What was split is not guessed and is in no series of today; nor are districts and departments.
    """
    units = read_units()
    today = units[(units.level == "commune") & units.valid_to.isna()].unit_code
    crosswalk = _csv("communes_crosswalk_2025-07-01.csv")
    whole = crosswalk[(crosswalk.type == "full") & (crosswalk.n_new == "1")]
    successor = dict(zip(whole.old_code, PROVINCE + "." + whole.new_code, strict=True))
    old = units[(units.level == "commune") & units.valid_to.notna()].unit_code
    found = {unit: successor[unit.rsplit(".", 1)[1]] for unit in old if unit.rsplit(".", 1)[1] in successor}
    return dict(zip(today, today, strict=True)) | found


@cache
def read_units() -> pd.DataFrame:
    """Units below the province, from the official lists: unit_code, level, valid_from, valid_to (NaT: in force)."""
    old, new = _gso_codes()
    before, after = _csv("communes_until_2025-06-30.csv"), _csv("communes_from_2025-07-01.csv")
    before, after = before[before.province_code == old], after[after.province_code == new]
    departments = pd.read_csv(_DEPARTMENTS, dtype=str)
    parts = [
        _units(departments.code, "province", departments.valid_from, departments.valid_to),
        _units(f"{PROVINCE}." + before.district_code.drop_duplicates(), "district", LONG_AGO, LAST_DISTRICT_DAY),
        _units(
            f"{PROVINCE}." + before.district_code + "." + before.commune_code, "commune", LONG_AGO, LAST_DISTRICT_DAY
        ),
        _units(f"{PROVINCE}." + after.commune_code, "commune", FIRST_TWO_TIER_DAY, None),
    ]
    return pd.concat(parts, ignore_index=True)


def _units(
    codes: pd.Series[str], level: str, first: pd.Series[str] | str, last: pd.Series[str] | str | None
) -> pd.DataFrame:
    rows = pd.DataFrame({"unit_code": codes, "level": level, "valid_from": first, "valid_to": last})
    days = {name: pd.to_datetime(rows[name]).astype("datetime64[us]") for name in ("valid_from", "valid_to")}
    return rows.assign(**days)


def _gso_codes() -> tuple[str, str]:
    """The province's GSO code until 2025-06-30 and since: by the portal's list, and by name for the older one."""
    codes = _csv("province_portal_codes.csv").set_index("portal_code")["gso_code_from_2025-07-01"]
    new = str(codes[PROVINCE])
    merged = _csv("provinces_crosswalk_2025-07-01.csv")
    same = (merged.new_code == new) & (merged.old_name.map(_bare) == merged.new_name.map(_bare))
    return str(merged.old_code[same].item()), new


def _bare(name: str) -> str:
    return re.sub("^(tỉnh|thành phố) ", "", unicodedata.normalize("NFC", name).casefold())


def _csv(name: str) -> pd.DataFrame:
    return pd.read_csv(_REFERENCE / name, dtype=str)
