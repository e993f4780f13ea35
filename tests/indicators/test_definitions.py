"""Definitions are checked when they are read, so these tests work on files: a clerk's mistake must be
told with file, line and what to write instead, before any night runs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.indicators.definitions import DefinitionError, load_definition, load_definitions

GOOD = """\
id: online-processing
version: test-1
name_vi: Tỷ lệ
name_en: Rate
document: Quyết định thử
clause: "1"
valid_from: 2024-01-01
fact: dossier
event: received_on
population: is_received
numerator: channel = 'online'
note_vi: Không
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "rate.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_definition_can_be_computed_and_is_one_of_those_agreed() -> None:
    keys = [definition.key for definition in load_definitions()]
    assert keys == [
        ("accounts-verified", "3478-ii6a"),
        ("digitisation", "766-4.2"),
        ("electronic-result", "766-4.1"),
        ("internal-circulation", "3478-ii2a"),
        ("on-time", "766-2.1"),
        ("on-time", "766-2.1-due"),
        ("on-time", "766-2.1-resolved"),
        ("on-time", "provincial"),
        ("online-payment", "766-3.6"),
        ("online-payment", "vendor-td"),
        ("online-processing", "766-3.3"),
        ("online-processing", "vendor-td"),
        ("payment-transactions", "3478-ii2a"),
        ("personal-store", "766-4.4"),
        ("population-data", "766-4.5b"),
        ("reception-in-8-hours", "operators"),
        ("reuse", "766-4.3"),
        ("stopped", "operators"),
        ("synchronised", "766-1.4"),
        ("waiting", "operators"),
        ("wholly-online", "3478-ii6a"),
    ]


def test_a_definition_that_asks_for_the_end_of_the_period_is_known_by_it(tmp_path: Path) -> None:
    """Its months do not add up to a quarter, so it must be counted for every kind of period."""
    asks = GOOD.replace("numerator: channel = 'online'", "numerator: coalesce(ended_at, $period_end) <= deadline_at")
    of_now = GOOD.replace("numerator: channel = 'online'", "numerator: coalesce(ended_at, $as_of) <= deadline_at")
    assert load_definition(_file(tmp_path, asks)).is_judged_at_period_end
    assert not load_definition(_file(tmp_path, of_now)).is_judged_at_period_end
    assert not load_definition(_file(tmp_path, GOOD)).is_judged_at_period_end


@pytest.mark.parametrize(
    ("wrong", "right", "line", "says"),
    [
        ("numerator: chanel = 'online'", "numerator: channel = 'online'", 11, "unknown column 'chanel'"),
        ("numerator: channel = 'onlin'", "numerator: channel = 'online'", 11, "'onlin' is not one of direct, online"),
        ("numerator: channel = 3", "numerator: channel = 'online'", 11, "channel is a text, 3 is a number"),
        ("numerator: transaction_count", "numerator: channel = 'online'", 11, "must be true or false, but is a number"),
        ("numerator: is_received OR channel", "numerator: channel = 'online'", 11, "channel must be true or false"),
        ("numerator: channel = 'online' AND", "numerator: channel = 'online'", 11, "cannot be read as SQL"),
        ("numerator: due_at < received_on", "numerator: channel = 'online'", 11, "received_on is a day"),
        ("population: count(*) > 1", "population: is_received", 10, "may not use 'COUNT(*)'"),
        ("population: (SELECT true)", "population: is_received", 10, "may not use '(SELECT TRUE)'"),
        ("population: due_at < $today", "population: is_received", 10, "unknown parameter $today; known: as_of"),
        ("event: received_at", "event: received_on", 9, "'received_at' is not a day of core_dossier"),
        ("fact: person", "fact: dossier", 8, "'person' is not one of dossier, payment"),
        ("valid_from: yesterday", "valid_from: 2024-01-01", 7, "valid_from: "),
        ("version: Mới", "version: test-1", 2, "version: "),
        ("unit: x\nnote_vi: y", "note_vi: Không", 12, "unit: Extra inputs"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_reason(
    tmp_path: Path, wrong: str, right: str, line: int, says: str
) -> None:
    path = _file(tmp_path, GOOD.replace(right, wrong))
    with pytest.raises(DefinitionError) as caught:
        load_definition(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert says in str(caught.value)


def test_a_span_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, GOOD + "valid_to: 2023-12-31\n")
    with pytest.raises(DefinitionError, match=r"line 13: valid_to: ends before it begins"):
        load_definition(path)


def test_the_same_version_twice_is_refused(tmp_path: Path) -> None:
    _file(tmp_path, GOOD)
    (tmp_path / "again.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(DefinitionError, match="online-processing test-1 is defined twice"):
        load_definitions(tmp_path)


def test_the_fingerprint_follows_what_decides_the_counts_and_nothing_else(tmp_path: Path) -> None:
    first = load_definition(_file(tmp_path, GOOD)).fingerprint
    reworded = load_definition(_file(tmp_path, GOOD.replace("note_vi: Không", "note_vi: Ghi chú khác"))).fingerprint
    respaced = load_definition(_file(tmp_path, GOOD.replace("channel = 'online'", "channel  =  'online'"))).fingerprint
    changed = load_definition(_file(tmp_path, GOOD.replace("'online'", "'post'"))).fingerprint
    assert first == reworded == respaced
    assert changed != first
