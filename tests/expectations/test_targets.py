"""The target file against the decision's own words, and every way in which a file can be wrong.

The rates and dates expected here were read from the decision, not from the file.
"""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from expectations.targets import COLUMNS, FOLDER, Target, TargetError, load_targets, set_sentences
from expectations.targets.sets import target_sets

FIXTURES = Path(__file__).parents[1] / "fixtures"
EXCERPTS = {
    "dak-lak-3478": FIXTURES / "quyet-dinh-3478-trich.txt",
    "tay-ninh-490": FIXTURES / "quyet-dinh-490-trich.txt",
}
SETS = ("dak-lak-3478", "tay-ninh-490", "son-la-2407", "lam-dong-2025", "national-2025")
#: Indicator versions that targets may name, by who makes them: dossier definitions, procedures that
#: occur in dossiers, the catalogue, observations of other systems.
MADE = {
    "766-3.3": "online-processing",
    "766-3.6": "online-payment",
    "3478-ii2a": "payment-transactions internal-circulation",
    "766-4.2": "digitisation",
    "766-4.1": "electronic-result",
    "766-4.3": "reuse",
    "3478-ii6a": "wholly-online accounts-verified",
    "766-2.1": "on-time",
    "766-3.2": "services-with-online-dossiers",
    "catalogue": "procedures-online procedures-full-online procedures-online-payment services-integrated "
    "procedures-integrated eligible-online-integrated",
    "observed": "valid-results-digitised satisfaction-procedures satisfaction-land-construction-investment "
    "satisfaction-service satisfaction-health-education internal-procedures-published multi-access-services "
    "restructured-procedures work-files-online reporting-regimes-connected inspections-digital users-identified "
    "participants-identified par-index-rank systems-operated documents-signed satisfaction-online-services "
    "adults-using-services",
}
KNOWN = frozenset((indicator, version) for version, names in MADE.items() for indicator in names.split())
GOOD = {
    "target": "X-1",
    "indicator": "reuse",
    "version": "v1",
    "level": "all",
    "operator": ">=",
    "threshold": "0.5",
    "measure": "share",
    "source_class": "D",
    "valid_from": "2024-01-01",
    "valid_to": "",
    "due_on": "2025-12-31",
    "document": "QĐ 1",
    "clause": "II.2.a; II.6.a",
    "wording": "tối thiểu 50%",
    "counted": "hồ sơ",
    "note": "",
}


def _held(target: str, day: date) -> Target | None:
    found = [row for row in load_targets(["dak-lak-3478"]) if row.target == target and row.holds_on(day)]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("target", "day", "threshold", "due_on"),
    [
        ("DL-A2b", date(2024, 6, 1), "0.3", date(2025, 12, 31)),
        ("DL-A2b", date(2030, 12, 30), "0.3", date(2025, 12, 31)),
        ("DL-B1b", date(2024, 6, 1), "0.5", date(2030, 12, 31)),
        ("DL-B1b", date(2031, 6, 1), "0.5", date(2030, 12, 31)),
        ("DL-A4c", date(2031, 6, 1), "0.5", date(2025, 12, 31)),
        ("DL-D1", date(2026, 6, 1), "0.5", date(2025, 12, 31)),
        ("DL-D2", date(2026, 6, 1), "0.8", date(2025, 12, 31)),
        ("DL-E2", date(2026, 6, 1), "1", date(2030, 12, 31)),
        ("DL-A7", date(2026, 6, 1), "0.8", date(2025, 12, 31)),
        # Năm 2022: 50 % cấp tỉnh, 40 % cấp huyện và cấp xã; mỗi năm tăng 20 điểm, trần 100 %.
        ("DL-A3-P", date(2022, 6, 1), "0.5", date(2022, 12, 31)),
        ("DL-A3-P", date(2023, 6, 1), "0.7", date(2023, 12, 31)),
        ("DL-A3-P", date(2024, 6, 1), "0.9", date(2024, 12, 31)),
        ("DL-A3-P", date(2025, 6, 1), "1", date(2025, 12, 31)),
        ("DL-A3-P", date(2026, 6, 1), "1", date(2025, 12, 31)),
        ("DL-A3-H", date(2022, 6, 1), "0.4", date(2022, 12, 31)),
        ("DL-A3-H", date(2024, 6, 1), "0.8", date(2024, 12, 31)),
        ("DL-A3-X", date(2023, 6, 1), "0.6", date(2023, 12, 31)),
        ("DL-A3-X", date(2025, 6, 1), "1", date(2025, 12, 31)),
        ("DL-A1", date(2026, 6, 1), "0.8", date(2025, 12, 31)),
        ("DL-A2a", date(2026, 6, 1), "0.8", date(2025, 12, 31)),
        ("DL-B1a", date(2026, 6, 1), "1", date(2030, 12, 31)),
        ("DL-A4a", date(2026, 6, 1), "1", date(2025, 12, 31)),
        ("DL-A4b", date(2026, 6, 1), "0.8", date(2025, 12, 31)),
        ("DL-E1", date(2026, 6, 1), "1", date(2030, 12, 31)),
        ("DL-A5a", date(2026, 6, 1), "0.9", date(2025, 12, 31)),
        ("DL-A5b", date(2026, 6, 1), "0.85", date(2025, 12, 31)),
        ("DL-B4a", date(2026, 6, 1), "0.95", date(2030, 12, 31)),
        ("DL-B4b", date(2026, 6, 1), "0.9", date(2030, 12, 31)),
        ("DL-A6", date(2026, 6, 1), "0.9", date(2025, 12, 31)),
        ("DL-B2", date(2026, 6, 1), "0.9", date(2030, 12, 31)),
        ("DL-B3", date(2026, 6, 1), "0.9", date(2030, 12, 31)),
        ("DL-C1-2025", date(2026, 6, 1), "0.9", date(2025, 12, 31)),
        ("DL-C1-2030", date(2026, 6, 1), "0.95", date(2030, 12, 31)),
        ("DL-C2-2025", date(2026, 6, 1), "0.85", date(2025, 12, 31)),
        ("DL-C2-2030", date(2026, 6, 1), "0.9", date(2030, 12, 31)),
        ("DL-D3-P", date(2026, 6, 1), "0.9", date(2025, 12, 31)),
        ("DL-D3-H", date(2024, 6, 1), "0.8", date(2025, 12, 31)),
        ("DL-D3-X", date(2026, 6, 1), "0.6", date(2025, 12, 31)),
        ("DL-E3-P", date(2026, 6, 1), "1", date(2030, 12, 31)),
        ("DL-E3-H", date(2024, 6, 1), "0.9", date(2030, 12, 31)),
        ("DL-E3-X", date(2026, 6, 1), "0.7", date(2030, 12, 31)),
        ("DL-D4", date(2026, 6, 1), "1", date(2025, 12, 31)),
        ("DL-D5", date(2026, 6, 1), "0.5", date(2025, 12, 31)),
        ("DL-E4", date(2026, 6, 1), "0.7", date(2030, 12, 31)),
        ("DL-D6", date(2026, 6, 1), "1", date(2025, 12, 31)),
        ("DL-D7", date(2026, 6, 1), "1", date(2025, 12, 31)),
        ("DL-F1", date(2026, 6, 1), "20", date(2025, 12, 31)),
    ],
)
def test_thresholds_and_dates_of_3478(target: str, day: date, threshold: str, due_on: date) -> None:
    held = _held(target, day)
    assert held is not None
    assert (held.threshold, held.due_on) == (Decimal(threshold), due_on)


def test_the_2025_targets_with_a_successor_end_when_it_is_due() -> None:
    assert _held("DL-A2b", date(2030, 12, 31)) is None
    assert _held("DL-D2", date(2030, 12, 31)) is None


def test_nothing_held_before_the_decision_was_signed() -> None:
    assert _held("DL-D1", date(2021, 12, 9)) is None
    assert _held("DL-D1", date(2021, 12, 10)) is not None


@pytest.mark.parametrize(
    ("name", "count"),
    [("dak-lak-3478", 40), ("tay-ninh-490", 6), ("son-la-2407", 0), ("lam-dong-2025", 5), ("national-2025", 11)],
)
def test_how_many_targets_each_document_states(name: str, count: int) -> None:
    """3478: A1, A2a-b, A3 of three levels, A4a-c, A5a-b, A6, A7; B1a-b, B2, B3, B4a-b; C1 and C2 of two years;
    D1, D2, D3 of three levels, D4, D5, D6 with its proxy, D7; E1, E2, E3 of three levels, E4; F1.
    """
    assert len({row.target for row in load_targets([name])}) == count


@pytest.mark.parametrize(
    ("target", "operator", "threshold", "indicator"),
    [
        ("TN-1", ">=", "0.9", "satisfaction-procedures"),
        ("TN-2", "=", "1", "procedures-full-online"),
        ("TN-3", ">=", "0.5", "procedures-integrated"),
        ("TN-4", ">=", "0.5", "online-processing"),
        ("TN-5", "=", "1", "systems-operated"),
        ("TN-6", ">=", "0.9", "documents-signed"),
    ],
)
def test_targets_of_490(target: str, operator: str, threshold: str, indicator: str) -> None:
    (row,) = [one for one in load_targets(["tay-ninh-490"]) if one.target == target]
    assert (row.operator, row.threshold, row.indicator) == (operator, Decimal(threshold), indicator)
    # The programme is of 2021 to 2025.
    assert (row.valid_from, row.due_on, row.valid_to) == (date(2021, 3, 5), date(2025, 12, 31), date(2025, 12, 31))


@pytest.mark.parametrize("name", sorted(EXCERPTS))
def test_every_wording_stands_in_the_decision(name: str) -> None:
    decision = " ".join(EXCERPTS[name].read_text(encoding="utf-8").split())
    targets = load_targets([name])
    assert targets
    assert [row.target for row in targets if row.wording not in decision] == []


@pytest.mark.parametrize(("target", "times"), [("DL-A4a", 2), ("DL-A4b", 2), ("DL-D1", 1), ("DL-A4c", 1)])
def test_how_often_the_decision_states_a_target(target: str, times: int) -> None:
    decision = " ".join(EXCERPTS["dak-lak-3478"].read_text(encoding="utf-8").split())
    (row,) = [one for one in load_targets(["dak-lak-3478"]) if one.target == target]
    assert decision.count(row.wording) == len(row.clauses) == times


def test_wordings_of_documents_that_were_not_read_are_not_called_verbatim() -> None:
    for name in SETS:
        found = {row.is_verbatim for row in load_targets([name])}
        assert found == ({name in EXCERPTS} if found else set()), name


def test_every_target_names_an_indicator_that_is_made() -> None:
    targets = load_targets(SETS, known=KNOWN)
    # Of the 982 services nobody has published the list.
    assert {row.target for row in targets if row.indicator is None} == {"QG-1565-982"}


def test_every_target_says_which_systems_could_answer() -> None:
    by_id = {row.target: row for row in load_targets(SETS)}
    assert by_id["DL-A5a"].sources_vi == "khảo sát mức độ hài lòng"
    assert by_id["DL-A6"].sources_vi == "danh mục thủ tục hành chính, số liệu nhập tay có người chịu trách nhiệm"
    assert not [row for row in by_id.values() if not row.source_classes]


@pytest.mark.parametrize("target", ["DL-A4a", "DL-A4b", "DL-B3"])
def test_targets_stated_in_two_places_cite_both(target: str) -> None:
    (row,) = [one for one in load_targets(["dak-lak-3478"]) if one.target == target]
    assert [clause.split(",")[0] for clause in row.clauses] == ["mục II.2.a", "mục II.6.a"]


def test_second_hand_targets_say_so_and_name_their_document() -> None:
    for row in load_targets(["national-2025", "lam-dong-2025"]):
        assert "nguồn thứ cấp" in row.note.lower(), row.target
        assert row.document


def test_a_set_without_numbers_loads_to_nothing_and_says_why() -> None:
    assert load_targets(["son-la-2407"]) == ()
    (said,) = set_sentences(["son-la-2407"])
    assert said.startswith("son-la-2407 (Quyết định 2407/QĐ-UBND ngày 01/10/2021 của UBND tỉnh Sơn La): Trang đăng")
    assert "không có chỉ tiêu nào bằng số" in said
    assert set_sentences(["tay-ninh-490"])[0].endswith(": 6 chỉ tiêu")


def test_every_file_of_targets_is_a_set() -> None:
    assert {path.stem for path in FOLDER.glob("*.csv")} == set(target_sets()) == set(SETS)


def test_each_set_keeps_the_territory_of_its_decision() -> None:
    """GSO codes until 2025-06-30: 72 is Tây Ninh, 80 was Long An; since then 80 is Tây Ninh."""
    found = {name: (one.province_code, one.territory) for name, one in target_sets().items()}
    assert found == {
        "dak-lak-3478": ("H15", "66"),
        "tay-ninh-490": ("H53", "72"),
        "son-la-2407": ("H52", "14"),
        "lam-dong-2025": ("H36", None),
        "national-2025": (None, None),
    }


def test_a_province_names_its_own_sets_and_the_national_one() -> None:
    found = load_targets(["tay-ninh-490", "national-2025"], province_code="H53")
    assert {row.territory for row in found} == {"72", None}
    with pytest.raises(TargetError, match="tay-ninh-490: the set is of province H53, not of H15"):
        load_targets(["tay-ninh-490"], province_code="H15")


def _write(folder: Path, *rows: dict[str, str], more: str = "") -> None:
    described = "x: {document: QĐ 1, valid_from: 2021-01-01, territory_vi: tỉnh" + more + "}"
    (folder / "sets.yaml").write_text(described, encoding="utf-8")
    with (folder / "x.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows([GOOD | row for row in rows])


def test_both_citations_of_a_target_stated_twice(tmp_path: Path) -> None:
    _write(tmp_path, {})
    (target,) = load_targets(["x"], folder=tmp_path)
    assert target.clauses == ("II.2.a", "II.6.a")
    assert target.clause == "II.2.a; II.6.a"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"threshold": "80"}, "threshold '80' must be a share"),
        ({"threshold": "-0.1"}, "must be a share"),
        ({"threshold": "0.12345"}, "at most four places"),
        ({"threshold": "NaN"}, "must be a share"),
        ({"threshold": "1/2"}, "must be a share"),
        ({"operator": ">"}, "operator '>' is not known"),
        ({"operator": "="}, "operator = is for a share of 1 only"),
        ({"operator": "<="}, "operator <= is for a rank only"),
        ({"measure": "index"}, "measure 'index' must be one of share, rank, count"),
        ({"measure": "rank", "threshold": "20"}, "operator of a rank must be <="),
        ({"measure": "count", "threshold": "20", "operator": "<="}, "operator of a count must be >="),
        ({"measure": "rank", "operator": "<="}, "threshold '0.5' must be a whole number from 1 on for a rank"),
        ({"source_class": "D+Z"}, "source_class 'Z' is not known"),
        ({"source_class": ""}, "source_class is empty"),
        ({"target": "X 1"}, "target 'X 1' must be letters and digits"),
        ({"valid_from": "2020-12-31"}, "before 2021-01-01, when its set takes effect"),
        ({"level": "ward"}, "level 'ward' must be one of"),
        ({"indicator": "re-use"}, "indicator 're-use' has no definition; known are reuse"),
        ({"version": "v2"}, "indicator reuse has no version 'v2'; it has v1"),
        ({"version": ""}, "indicator and version must both be given"),
        ({"due_on": "31/12/2025"}, "due_on '31/12/2025' is not a day"),
        ({"valid_to": "2023-12-31"}, "valid_to 2023-12-31 is before valid_from"),
        ({"valid_to": "2025-12-30"}, "could never be judged"),
        ({"wording": ""}, "wording is empty"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, str], complaint: str) -> None:
    _write(tmp_path, {"target": "X-0"}, change)
    with pytest.raises(TargetError, match=complaint) as error:
        load_targets(["x"], known={("reuse", "v1")}, folder=tmp_path)
    assert "x.csv: row 3" in str(error.value)
    assert "row 2" not in str(error.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    _write(tmp_path, {"threshold": "80"}, {"level": "ward"})
    with pytest.raises(TargetError) as error:
        load_targets(["x"], folder=tmp_path)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(("valid_to", "overlaps"), [("2025-12-31", False), ("2026-01-01", True), ("", True)])
def test_spans_of_one_target_must_not_overlap(tmp_path: Path, valid_to: str, overlaps: bool) -> None:
    _write(tmp_path, {"valid_to": valid_to}, {"valid_from": "2026-01-01", "due_on": "2026-12-31"})
    if not overlaps:
        assert len(load_targets(["x"], folder=tmp_path)) == 2
        return
    with pytest.raises(TargetError, match=r"x.csv: row 3: X-1 from 2026-01-01 overlaps x.csv: row 2"):
        load_targets(["x"], folder=tmp_path)


def test_a_set_that_ends_ends_its_rows(tmp_path: Path) -> None:
    _write(tmp_path, {}, more=", valid_to: 2026-06-30")
    (target,) = load_targets(["x"], folder=tmp_path)
    assert target.valid_to == date(2026, 6, 30)


def test_a_row_must_not_outlive_its_set(tmp_path: Path) -> None:
    _write(tmp_path, {"valid_to": "2027-01-01"}, more=", valid_to: 2026-06-30")
    with pytest.raises(TargetError, match="valid_to 2027-01-01 is after 2026-06-30, when its set ends"):
        load_targets(["x"], folder=tmp_path)


def test_a_row_without_a_document_is_of_the_sets(tmp_path: Path) -> None:
    _write(tmp_path, {"document": ""}, {"target": "X-2", "document": "QĐ 2"})
    assert [row.document for row in load_targets(["x"], folder=tmp_path)] == ["QĐ 1", "QĐ 2"]


@pytest.mark.parametrize(
    ("rows", "more", "complaint"),
    [
        ((), "", "x.csv: has no row; sets.yaml must say why under no_targets"),
        (({},), ", no_targets: phụ lục chưa có", "says no_targets, but x.csv has 1 rows"),
    ],
)
def test_an_empty_set_and_its_reason_go_together(
    tmp_path: Path, rows: tuple[dict[str, str], ...], more: str, complaint: str
) -> None:
    _write(tmp_path, *rows, more=more)
    with pytest.raises(TargetError, match=complaint):
        load_targets(["x"], folder=tmp_path)


_YEARS = (("2022", "0.40"), ("2023", "0.60"), ("2024", "0.80"), ("2025", "1.00"))
_RELATIVE_YEARS = (("2022", "0.40"), ("2023", "0.48"), ("2024", "0.576"), ("2025", "0.6912"))
_CAPPED_YEARS = (("2022", "0.50"), ("2023", "0.70"), ("2024", "0.90"), ("2025", "1.00"))


def _steps(years: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [
        {"threshold": share, "valid_from": f"{year}-01-01", "valid_to": f"{year}-12-31", "due_on": f"{year}-12-31"}
        for year, share in years
    ]


def _mode(mode: str, target: str = "X-1") -> str:
    return f', steps: [{{targets: [{target}], step_mode: {mode}, increase: "0.20", cap: "1.00", why: vì}}]'


@pytest.mark.parametrize(
    ("mode", "years", "wanted"),
    [
        ("points", _YEARS, None),
        ("points", _CAPPED_YEARS, None),
        ("relative", _RELATIVE_YEARS, None),
        ("relative", _YEARS, "x.csv: row 3: threshold 0.60 is not 0.4800, which step_mode relative"),
        ("points", _RELATIVE_YEARS, "x.csv: row 3: threshold 0.48 is not 0.60, which step_mode points"),
    ],
)
def test_yearly_steps_grow_as_the_set_says(
    tmp_path: Path, mode: str, years: tuple[tuple[str, str], ...], wanted: str | None
) -> None:
    _write(tmp_path, *_steps(years), more=_mode(mode))
    if wanted is None:
        assert [row.threshold for row in load_targets(["x"], folder=tmp_path)] == [Decimal(one) for _, one in years]
        return
    with pytest.raises(TargetError, match=wanted):
        load_targets(["x"], folder=tmp_path)


def test_steps_of_a_target_that_is_not_there_are_named(tmp_path: Path) -> None:
    _write(tmp_path, {}, more=_mode("points", "X-9"))
    with pytest.raises(TargetError, match="steps name X-9, of which there is no row"):
        load_targets(["x"], folder=tmp_path)


def test_a_set_with_an_unknown_key_is_named(tmp_path: Path) -> None:
    _write(tmp_path, {}, more=", vaild_to: 2026-06-30")
    with pytest.raises(TargetError, match=r"sets.yaml: x.vaild_to: Extra inputs"):
        load_targets(["x"], folder=tmp_path)


def test_a_set_without_its_file_is_named(tmp_path: Path) -> None:
    _write(tmp_path, {})
    (tmp_path / "x.csv").unlink()
    with pytest.raises(TargetError, match=r"x.csv: no such file, but sets.yaml names the set"):
        load_targets(["x"], folder=tmp_path)


def test_a_missing_set_lists_those_there_are() -> None:
    with pytest.raises(TargetError, match=r"dak-lak-9999.csv: no such target set; .* dak-lak-3478"):
        load_targets(["dak-lak-9999"])


@pytest.mark.parametrize("text", ["target,indicator\nX,Y\n", ",".join(COLUMNS) + "\nX-1,reuse\n"])
def test_wrong_columns_are_named(tmp_path: Path, text: str) -> None:
    _write(tmp_path, {})
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    with pytest.raises(TargetError, match=r"x.csv: row [12]"):
        load_targets(["x"], folder=tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_the_files_are_sorted_for_diffs(name: str) -> None:
    rows = list(csv.DictReader((FOLDER / f"{name}.csv").open(encoding="utf-8")))
    assert [(row["target"], row["valid_from"]) for row in rows] == sorted((r["target"], r["valid_from"]) for r in rows)
