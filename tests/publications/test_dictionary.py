"""The committed data dictionary is the one that the declarations give."""

from __future__ import annotations

from pathlib import Path

from assets.publications.dictionary import render
from assets.publications.tables import PUBLISHED

DOCUMENT = Path(__file__).parents[2] / "docs" / "data-dictionary.md"


def test_the_committed_dictionary_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(), (
        "run: python -m assets.publications.dictionary docs/data-dictionary.md"
    )


def test_every_published_column_is_described_in_both_languages() -> None:
    sections = dict(zip((one.table.name for one in PUBLISHED), render().split("\n## ")[1:], strict=True))
    for one in PUBLISHED:
        lines = [line for line in sections[one.table.name].splitlines() if line.startswith("| `")]
        assert [line.split("`")[1] for line in lines] == list(one.table.column_names)
        for line, column in zip(lines, one.table.columns, strict=True):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            assert len(cells) == 5
            assert cells[3] == column.vi
            assert cells[4].startswith(column.en)
