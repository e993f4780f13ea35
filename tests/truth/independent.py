"""The first set of indicators computed a second time: pandas, straight from the truth's Parquet files.

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
KEY = ["indicator", "version", "scope", "level", "unit_code", "period", "period_start"]
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


Counted = tuple["pd.Series[pd.Timestamp]", "pd.Series[bool]", "pd.Series[bool]"]
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


def _on_time_received(dossier: pd.DataFrame, as_of: pd.Timestamp) -> Counted:
    """766, 2.1 over what was received: ended no later than promised, or open and the promise not yet past.

    Without NgayHenTra nothing can be late (the first rule compares instants only).
    """
    end = resolved_at(dossier)
    in_time = end <= dossier.due_at
    not_yet_due = end.isna() & (dossier.due_at >= as_of)
    return dossier.received_at, is_received(dossier), dossier.due_at.isna() | in_time | not_yet_due


def _on_time_resolved(dossier: pd.DataFrame, _: pd.Timestamp) -> Counted:
    """766, 2.1 over what was resolved, dated by the end of processing."""
    end = resolved_at(dossier)
    return end, is_received(dossier) & end.notna(), dossier.due_at.isna() | (end <= dossier.due_at)


def _on_time_due(dossier: pd.DataFrame, as_of: pd.Timestamp) -> Counted:
    """766, 2.1 over what had to be returned by now, dated by the promise; open = late."""
    counted = is_received(dossier) & (dossier.due_at <= as_of)
    return dossier.due_at, counted, resolved_at(dossier) <= dossier.due_at


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
    ("on-time", "received"): _on_time_received,
    ("on-time", "resolved"): _on_time_resolved,
    ("on-time", "due"): _on_time_due,
}
#: Rules that count payments; all others count dossiers.
OF_PAYMENTS = {("payment-transactions", "3478-ii2a")}


def expected_indicators(truth: Truth) -> pd.DataFrame:
    """Every row that must be published: KEY, numerator, denominator.

    A row for each unit, level and the province in every month, quarter and year in which it exists, counts
    or not; and a row wherever something is counted (a dossier handed over on 2025-07-01 counts for the new
    commune in the month it was received, before the commune existed).
    """
    months = measured_months(truth.as_of)
    counts = pd.concat([_counts(truth, pair, months) for pair in RULES], ignore_index=True)
    sums = counts.groupby(KEY, as_index=False)[["numerator", "denominator"]].sum()
    pairs = pd.DataFrame(list(RULES), columns=["indicator", "version"])
    frame = subjects(months).merge(pairs, how="cross")
    full = frame.merge(sums, on=KEY, how="outer")
    return full.fillna({"numerator": 0, "denominator": 0}).astype({"numerator": "int64", "denominator": "int64"})


def measured_months(as_of: pd.Timestamp) -> pd.DatetimeIndex:
    """First days of the months from January 2024 to the one that the last known moment lies in, in Vietnam."""
    last = (as_of - pd.Timedelta(1, "us")).tz_convert(VIETNAM).tz_localize(None)
    return pd.date_range(FIRST_MONTH, last, freq="MS", unit="us")


def _counts(truth: Truth, pair: tuple[str, str], months: pd.DatetimeIndex) -> pd.DataFrame:
    """Rows of one rule, one per dossier or payment and scope and kind of period, to be summed."""
    facts = truth.payment if pair in OF_PAYMENTS else truth.dossier
    event, population, numerator = RULES[pair](facts, truth.as_of)
    day = vietnam_day(event)
    kept = population & day.notna() & (day < months[-1] + pd.offsets.MonthBegin(1)) & (day >= months[0])
    single = pd.DataFrame(
        {
            "indicator": pair[0],
            "version": pair[1],
            "level": facts.unit_level[kept],
            "unit_code": facts.unit_code[kept],
            "numerator": numerator[kept].astype("int64"),
            "denominator": 1,
        }
    )
    return _by_scope(_by_period(single, day[kept]))


def _by_period(rows: pd.DataFrame, day: pd.Series[pd.Timestamp]) -> pd.DataFrame:
    """Each row three times: in its month, its quarter and its year."""
    kinds = {"month": "M", "quarter": "Q", "year": "Y"}
    return pd.concat(
        [
            rows.assign(period=name, period_start=day.dt.to_period(kind).dt.start_time.astype("datetime64[us]"))
            for name, kind in kinds.items()
        ]
    )


def _by_scope(rows: pd.DataFrame) -> pd.DataFrame:
    """Each row three times: for its unit, its level and the province."""
    return pd.concat(
        [
            rows.assign(scope="unit"),
            rows.assign(scope="level", unit_code=PROVINCE),
            rows.assign(scope="province", level="all", unit_code=PROVINCE),
        ]
    )


def subjects(months: pd.DatetimeIndex) -> pd.DataFrame:
    """Who exists when: scope, level, unit_code, period, period_start, by months that a unit's life touches."""
    month = pd.DataFrame({"month": months})
    pairs = read_units().merge(month, how="cross")
    month_end = pairs.month + pd.offsets.MonthEnd(0)
    alive = pairs[(pairs.valid_from <= month_end) & (pairs.valid_to.isna() | (pairs.valid_to >= pairs.month))]
    rows = _by_scope(_by_period(alive[["level", "unit_code"]], alive.month))
    return rows.drop_duplicates(ignore_index=True)


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
