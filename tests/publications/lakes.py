"""Small lakes whose tables fit together, for tests of publications.

Belongs here: a lake in which the indicator counts exactly the dossiers beside it. Does not belong
here: assertions.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from assets.publications.publish import Publication, publish
from tests.rows import table_rows
from warehouse.lake import Lake
from warehouse.tables import CORE_DOSSIER, CORE_PAYMENT, CORE_PROCEDURE, CORE_UNIT, OUT_INDICATOR, OUT_VERDICT

AS_OF = datetime(2026, 2, 28, 18, 0, tzinfo=UTC)


def small_lake(root: Path, *, dossiers: int) -> Lake:
    """A lake of `dossiers` dossiers of one commune, every second one online, one payment each."""
    lake = Lake(str(root))
    online = dossiers // 2
    for table, rows in (
        (CORE_DOSSIER, [_dossier(number) for number in range(dossiers)]),
        (CORE_PAYMENT, [_payment(number) for number in range(dossiers)]),
        (CORE_UNIT, [{"unit_code": "H15.24133", "valid_from": date(2025, 7, 1), "name": "Phường Tân Lập"}]),
        (CORE_PROCEDURE, [{"procedure_code": "1.001193", "valid_from": date(2024, 1, 1), "name": "Đăng ký khai sinh"}]),
        (OUT_INDICATOR, [_measure(online, dossiers) | {"indicator": "online", "version": "1", "as_of": AS_OF}]),
        (OUT_VERDICT, [_measure(online, dossiers) | {"target": "A2b", "version": "1", "threshold": 0.8}]),
    ):
        lake.replace(table, table_rows(table, *rows))
    return lake


def _dossier(number: int) -> dict[str, object]:
    return {
        "dossier_key": f"H15.24133-{number:05d}",
        "lake_month": f"2026-{1 + number % 2:02d}",
        "unit_code": "H15.24133",
        "unit_level": "commune",
        "procedure_code": "1.001193",
        "channel": "online" if number % 2 else "direct",
        "status_code": 9,
        "received_on": date(2026, 1 + number % 2, 1 + number % 28),
        "is_received": True,
    }


def _payment(number: int) -> dict[str, object]:
    return {"dossier_key": f"H15.24133-{number:05d}", "lake_month": f"2026-{1 + number % 2:02d}", "amount_vnd": 8000}


def _measure(numerator: int, denominator: int) -> dict[str, object]:
    return {
        "scope": "province",
        "level": "all",
        "unit_code": "H15",
        "period": "year",
        "period_start": date(2026, 1, 1),
        "numerator": numerator,
        "denominator": denominator,
        "rate": numerator / denominator,
    }


def publish_small(lake: Lake, home: Path, *, night: str = "night", keep: int = 8) -> Publication:
    """Publish `lake` below `home` with a definition and a cursor to be found again in the manifest."""
    return publish(
        lake,
        folder=home / "published",
        as_of=AS_OF,
        night=night,
        definitions={"online/1": "a1b2"},
        cursors={"portal": {"35417": {"start": "2026-02-28"}}},
        keep=keep,
    )
