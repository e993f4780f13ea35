"""Two rules side by side over a handful of dossiers worked by hand, and over every pair that is published."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from assets.indicators.definitions import find, load_definitions
from assets.periods import Period
from assets.questions.decisions import Question
from assets.questions.difference import Difference, IncomparableError, difference
from assets.questions.memberships import memberships
from tests.questions.conftest import TwoNights
from tests.rows import table_rows
from warehouse.lake import Lake
from warehouse.tables import CORE_DOSSIER

OCTOBER = Period.parse("2026-10")
AS_OF = datetime(2026, 10, 31, 17, tzinfo=UTC)
DEFINITIONS = load_definitions()


def _dossier(key: str, **facts: Any) -> dict[str, Any]:
    day = date(2026, 10, 5)
    return {"dossier_key": key, "unit_code": "H15.SNV", "received_on": day, "is_received": True} | facts


def _lake(folder: Path, *dossiers: Mapping[str, Any]) -> Lake:
    lake = Lake(str(folder))
    lake.replace(CORE_DOSSIER, table_rows(CORE_DOSSIER, *dossiers))
    return lake


def _online(lake: Lake, *, unit_code: str | None = None) -> Difference:
    a, b = (find(DEFINITIONS, "online-processing", version) for version in ("766-3.3", "vendor-td"))
    return difference(lake, a, b, period=OCTOBER, unit_code=unit_code, as_of=AS_OF)


def test_national_and_vendors_rule_dossier_by_dossier(tmp_path: Path) -> None:
    """Formula 3.3 against the vendor's report (KenhThucHien 1, 2; no electronic result asked for).

    hồ sơ   kênh     phải trả giấy  kết quả điện tử   766-3.3        vendor-td
    same    online   không          -                 tử và mẫu      tử và mẫu
    paper   online   có             không             chỉ mẫu        tử và mẫu
    post    bưu chính                                 chỉ mẫu        không tính
    desk    trực tiếp                                 chỉ mẫu        chỉ mẫu
    """
    lake = _lake(
        tmp_path,
        _dossier("same", channel="online"),
        _dossier("paper", channel="online", is_result_required=True),
        _dossier("post", channel="post"),
        _dossier("desk", channel="direct"),
    )
    found = _online(lake)
    assert (found.denominator.both, found.denominator.only_a, found.denominator.only_b) == (3, 1, 0)
    assert (found.numerator.both, found.numerator.only_a, found.numerator.only_b) == (1, 0, 1)
    paper, post = found.dossiers
    assert (paper.dossier_key, post.dossier_key) == ("paper", "post")
    (why_paper,) = paper.missing
    assert (why_paper.side, why_paper.what) == ("a", "numerator")
    assert [part.text for part in why_paper.parts] == ["NOT is_result_required", "has_electronic_result"]
    assert why_paper.parts[1].values == (("has_electronic_result", "false"),)
    (why_post,) = post.missing
    assert (why_post.side, why_post.what) == ("b", "denominator")
    assert why_post.parts[0].vi == "channel IN ('direct', 'online') → sai (channel = post)"


def test_a_unit_has_its_own_dossiers_only(tmp_path: Path) -> None:
    lake = _lake(
        tmp_path,
        _dossier("here", channel="post"),
        _dossier("there", channel="post", unit_code="H15.24133", unit_level="commune"),
    )
    assert [one.dossier_key for one in _online(lake, unit_code="H15.24133").dossiers] == ["there"]


def test_a_dossier_of_another_period_says_its_day(tmp_path: Path) -> None:
    """Received in October, ended in November: 2.1 by reception has it in October, by end in November."""
    ended = datetime(2026, 11, 3, 3, tzinfo=UTC)
    lake = _lake(
        tmp_path,
        _dossier(
            "a",
            status_code=10,
            received_at=datetime(2026, 10, 5, 2, tzinfo=UTC),
            end_kind="processed",
            ended_at=ended,
            ended_on=date(2026, 11, 3),
            deadline_basis="none",
        ),
    )
    a, b = (find(DEFINITIONS, "on-time", version) for version in ("766-2.1", "766-2.1-resolved"))
    (only,) = difference(lake, a, b, period=OCTOBER, as_of=datetime(2026, 11, 30, 17, tzinfo=UTC)).dossiers
    assert {(one.side, one.what) for one in only.missing} == {("b", "denominator"), ("b", "numerator")}
    assert only.missing[0].parts[0].values == (("ngày tính", "03/11/2026"),)


def test_payments_and_dossiers_are_not_compared(tmp_path: Path) -> None:
    a, b = find(DEFINITIONS, "online-payment", "766-3.6"), find(DEFINITIONS, "payment-transactions", "3478-ii2a")
    with pytest.raises(IncomparableError, match="không thể so"):
        difference(_lake(tmp_path), a, b, period=OCTOBER, as_of=AS_OF)


def _published(two_nights: TwoNights, key: tuple[str, str], period: Period, unit_code: str | None) -> tuple[int, int]:
    rows = two_nights.second.indicator
    scope, code = ("province", "H15") if unit_code is None else ("unit", unit_code)
    mine = rows[
        (rows.indicator == key[0])
        & (rows.version == key[1])
        & (rows.scope == scope)
        & (rows.unit_code == code)
        & (rows.boundaries == "then")
        & (rows.period == period.kind)
        & (rows.period_start.astype(str) == period.start.isoformat())
    ]
    return int(mine.numerator.sum()), int(mine.denominator.sum())


@pytest.mark.parametrize(("name", "of_unit"), [("2026-Q3", False), ("2026-10", True)])
def test_sums_of_differences_are_the_published_differences(two_nights: TwoNights, name: str, of_unit: bool) -> None:
    """Every pair of versions of every indicator, for the province or its busiest unit."""
    lake, as_of, period = two_nights.here.lake, two_nights.second.as_of, Period.parse(name)
    unit_code = two_nights.second.dossier.unit_code.mode()[0] if of_unit else None
    pairs = [(a, b) for a, b in combinations(DEFINITIONS, 2) if a.id == b.id]
    assert len(pairs) >= 8
    differing = 0
    for a, b in pairs:
        found = difference(lake, a, b, period=period, unit_code=unit_code, as_of=as_of)
        theirs = [_published(two_nights, one.key, period, unit_code) for one in (a, b)]
        for index, counts in enumerate((found.numerator, found.denominator)):
            assert counts.only_a - counts.only_b == theirs[0][index] - theirs[1][index], (a.version, b.version)
            assert counts.both + counts.only_a == theirs[0][index]
        assert all(one.missing and all(part.parts for part in one.missing) for one in found.dossiers)
        differing += len(found.dossiers)
    assert differing > 0


def test_the_parts_of_every_rule_agree_with_its_counts(two_nights: TwoNights) -> None:
    """Predicates taken apart and put together again say of every dossier what the whole predicate says."""
    lake, as_of = two_nights.here.lake, two_nights.second.as_of
    counted = {
        (row["indicator"], row["version"], row["dossier_key"], row["payment_no"], row["counted_for"]): row[
            "in_numerator"
        ]
        for row in memberships(lake, DEFINITIONS, as_of=as_of).to_pylist()
    }
    judged = {}
    for one in DEFINITIONS:
        for kind in ("month", "quarter", "half", "year") if one.is_judged_at_period_end else (None,):
            for row in Question(one, as_of, kind).judgements(lake.connect(one.table)):
                assert row.population.parts
                if row.in_denominator:
                    judged[(*one.key, row.dossier_key, row.payment_no, kind)] = row.in_numerator
    assert judged == counted
