"""The portal's published evaluation beside ours: what differs, by how many dossiers, and for which reason."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from assets.scorecards.evaluation import compare
from assets.scorecards.score import COUNTS, Scored, score_counts
from assets.scorecards.sets import load_set
from tests.rows import table_rows
from warehouse.tables.score import OUT_EVALUATION, RAW_EVALUATION

SET = load_set("766")
AS_OF = datetime(2026, 10, 31, 18, tzinfo=UTC)
READ_AT = datetime(2026, 9, 26, tzinfo=UTC)
YEAR = date(2026, 1, 1)
ENDPOINTS = {group.group: group.endpoint for group in SET.groups}


def their(endpoint: str, code: str, **numbers: Any) -> dict[str, Any]:
    row = {
        "read_at": READ_AT,
        "endpoint": endpoint,
        "period": "year",
        "period_start": YEAR,
        "department_id": "root",
        "department_code": "H15",
        "department_name": "UBND tỉnh Đắk Lắk",
        "is_root": True,
        "kind": "metric",
        "code": code,
    }
    return row | numbers


def field(endpoint: str, **values: float | None) -> list[dict[str, Any]]:
    return [their(endpoint, code, kind="field", numerator=value) for code, value in values.items()]


UNIT = {"department_id": "u1", "department_code": "H15.100", "department_name": "UBND xã A", "is_root": False}


def our(component: str, numerator: int, denominator: int, **changes: Any) -> dict[str, Any]:
    row = {
        "scope": "province",
        "level": "all",
        "unit_code": "H15",
        "boundaries": "then",
        "period": "year",
        "period_start": YEAR,
        "component": component,
        "numerator": numerator,
        "denominator": denominator,
    }
    return row | changes


def ours(*rows: dict[str, Any]) -> Scored:
    return score_counts(pa.Table.from_pylist(list(rows), schema=COUNTS), SET, as_of=AS_OF)


def compared(published: list[dict[str, Any]], *rows: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    table = compare(
        table_rows(RAW_EVALUATION, *published),
        ours(*rows),
        SET,
        units={"H15.100": "H15.24133"},
        province_code="H15",
        as_of=AS_OF,
    )
    assert table.schema.equals(OUT_EVALUATION.arrow_schema(), check_metadata=True)
    return {(row["department_id"], row["measure"]): row for row in table.to_pylist()}


def test_theirs_ours_and_the_difference_in_dossiers() -> None:
    published = [
        their("dossier-digitized", "SO_HOA_GIAY_TO_GIAI_QUYET", numerator=500, denominator=1000, ratio=50, score=2.0)
    ]
    row = compared(published, our("4.2", 630, 1050))["root", "4.2"]
    assert (row["unit_code"], row["state"], row["read_at"]) == ("H15", "both", READ_AT)
    assert (row["their_numerator"], row["their_denominator"], row["their_rate"], row["their_points"]) == (
        500,
        1000,
        0.5,
        2.0,
    )
    assert (row["our_numerator"], row["our_denominator"], row["our_rate"], row["our_points"]) == (630, 1050, 0.6, 2.4)
    assert (row["numerator_difference"], row["denominator_difference"]) == (130, 50)
    assert row["rate_difference"] == pytest.approx(0.1)
    assert row["points_difference"] == 0.4
    assert row["their_points_by_rule"] == 2.0, "the same rule: the counts differ, not the rule"


def test_another_rule_shows_in_the_points_by_rule() -> None:
    # 500 of 1,000 at threshold 80 would be 2.5 of 4; the set fitted on published scores gives 2.0.
    published = [
        their("dossier-digitized", "SO_HOA_GIAY_TO_GIAI_QUYET", numerator=500, denominator=1000, ratio=50, score=2.5)
    ]
    row = compared(published, our("4.2", 500, 1000))["root", "4.2"]
    assert (row["their_points"], row["their_points_by_rule"], row["our_points"]) == (2.5, 2.0, 2.0)
    assert (row["numerator_difference"], row["points_difference"]) == (0, -0.5)


def test_a_tree_gives_its_components_by_sums_of_fields() -> None:
    fields = field(
        "provide-online-tree",
        partialCount=31,
        fullCount=21,
        authorityCount=89,
        onlineDossierCount=516,
        onlineServiceTotal=1884,
        channelOnlineSum=None,
        channelTotalSum=597894,
    )
    group = their("provide-online-tree", "", kind="group", score=8.56, max_score=12)
    found = compared([*fields, group], our("3.2", 516, 1884))
    assert (found["root", "3.1"]["their_numerator"], found["root", "3.1"]["their_denominator"]) == (52, 89)
    assert (found["root", "3.1"]["state"], found["root", "3.1"]["their_points_by_rule"]) == ("only_theirs", 1.46)
    assert (found["root", "3.2"]["numerator_difference"], found["root", "3.2"]["our_points"]) == (0, 1.10)
    # A null field makes the sum unknown, not smaller.
    assert found["root", "3.3"]["their_numerator"] is None
    assert found["root", "3a"]["their_points"] == 8.56
    # Our group lacks two of its components: their sum is not set against ours.
    assert (found["root", "3a"]["our_points"], found["root", "3a"]["points_difference"]) == (None, None)


def test_null_is_not_zero() -> None:
    published = [
        their("dossier-digitized", "ELECTRONIC_CERTIFIED_COPY", ratio=100, score=2),
        their("handling-satisfaction", "PETITION_PROCESSING_ON_TIME", numerator=0, denominator=0, ratio=0, score=6),
        their("transparency", "PUBLISH_ON_TIME"),
        their("transparency", "PUBLIC_UPDATE_ON_TIME", numerator=0, denominator=70, ratio=0, score=0),
    ]
    found = compared(published, our("5.2", 0, 0))
    copies, petitions, update = (found["root", name] for name in ("4.6", "5.2", "1.2"))
    assert (copies["their_denominator"], copies["their_rate"], copies["their_points_by_rule"]) == (None, 1.0, 2.0)
    # Their 0 % of nothing is no rate; the points are kept on both sides.
    assert (petitions["their_rate"], petitions["their_points_by_rule"], petitions["our_points"]) == (None, 6.0, 6.0)
    assert (update["their_rate"], update["their_points_by_rule"]) == (0.0, 0.0)
    assert ("root", "1.1") not in found, "neither side says anything"


def test_units_are_found_by_code_even_where_an_answer_leaves_it_out() -> None:
    published = [
        their("dvc-progress-tree", "", kind="group", score=18.0, **UNIT),
        their(
            "transparency",
            "DOSSIER_SYNC",
            numerator=90,
            denominator=100,
            ratio=90,
            score=5.4,
            **UNIT | {"department_code": None},
        ),
        their(
            "dvc-progress-tree",
            "",
            kind="group",
            score=12.0,
            **UNIT | {"department_id": "u2", "department_code": "H15.13"},
        ),
    ]
    place = {"scope": "unit", "level": "commune", "unit_code": "H15.24133"}
    found = compared(published, our("1.4", 95, 100, **place), our("2.1", 9, 10, **place), our("1.4", 1, 2))
    assert (found["u1", "1.4"]["unit_code"], found["u1", "1.4"]["numerator_difference"]) == ("H15.24133", 5)
    assert (found["u1", "2"]["their_points"], found["u1", "2"]["our_points"]) == (18.0, 18.0)
    assert found["u1", "2.1"]["state"] == "only_ours"
    assert (found["u2", "2"]["unit_code"], found["u2", "2"]["state"]) == (None, "only_theirs")


def test_totals_that_contradict_each_other_are_told_where_they_are_used() -> None:
    # As published for Phú Thọ in 2026.
    published = [
        their(
            "transparency",
            "DOSSIER_SYNC",
            numerator=475053,
            denominator=475053,
            score=6,
            quality_status="TEMP_NATIONAL_REPORT_DENOMINATOR",
            quality_message="Mẫu số đang dùng số tạm",
        ),
        *field("dvc-progress-tree", totalOnTime=528684, totalReceived=597918),
        *field("provide-online-tree", channelOnlineSum=589496, channelTotalSum=597894),
        their("dossier-digitized", "SO_HOA_GIAY_TO_GIAI_QUYET", numerator=145096, denominator=597918, score=0.97),
        their("dossier-digitized", "CITIZEN_DATA_CONNECTED_FORMALITY", numerator=396, denominator=1300, score=0.61),
    ]
    found = compared(published)
    note = (
        "Cổng công bố 3 tổng số hồ sơ khác nhau cho cùng đơn vị và kỳ: 597.918 (2.1, 4.2); 597.894 (3.3); 475.053 (1.4)"
    )
    assert {name: row["quality_note"] for (_, name), row in found.items() if row["kind"] == "component"} == {
        **dict.fromkeys(("1.4", "2.1", "3.3", "4.2"), note),
        "4.5a": None,
    }
    sync = found["root", "1.4"]
    assert sync["quality_status"] == "TEMP_NATIONAL_REPORT_DENOMINATOR"
    assert sync["quality_message"] == "Mẫu số đang dùng số tạm"


def test_the_total_is_made_of_six_groups_or_not_at_all() -> None:
    scores = dict(zip(ENDPOINTS.values(), (7.96, 17.68, 8.56, 6.67, 9.59, 11.43), strict=True))
    published = [their(endpoint, "", kind="group", score=score) for endpoint, score in scores.items()]
    assert compared(published)["root", "total"]["their_points"] == 61.89
    assert ("root", "total") not in compared(published[:5])


def test_the_newest_reading_counts() -> None:
    code = {"endpoint": "transparency", "code": "PUBLISH_ON_TIME"}
    older = their(**code, numerator=1, denominator=10, score=0.6)
    newer = older | {"read_at": datetime(2026, 9, 27, tzinfo=UTC), "numerator": 5, "score": 3.0}
    # Another group was read before only: it keeps its older reading.
    other = their("dvc-progress-tree", "", kind="group", score=18.0)
    found = compared([newer, older, other])
    assert (found["root", "1.1"]["their_numerator"], found["root", "1.1"]["their_points"]) == (5, 3.0)
    assert found["root", "2"]["their_points"] == 18.0


def test_nothing_published_is_nothing_compared() -> None:
    assert compared([]) == {}
