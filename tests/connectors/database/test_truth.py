"""What two vendors' databases hold arrives in core_dossier as it really is.

Why this level: profile, statements, streaming, text and conforming are only right together; the expected
values are the practice province's truth, with every other source taken out of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sandbox.population import DEFAULT_CLOCK, Population, seconds
from sandbox.replica import standing
from sandbox.truth import truth_tables
from tests.connectors.database.conftest import Home, Server, core, filled, settings_of

#: Truth column → core column, for the facts that both schemas carry.
_SAME = {
    "unit_code": "unit_code",
    "procedure_code": "procedure_code",
    "channel": "channel",
    "status_code": "status_code",
    "submitted_at": "submitted_at",
    "received_at": "received_at",
    "due_at": "due_at",
    "completed_at": "completed_at",
    "returned_at": "returned_at",
    "transaction_count": "transaction_count",
    "online_transaction_count": "online_transaction_count",
}


def alone(population: Population, source: str) -> Population:
    """The same province if `source` were its only one."""
    columns = dict(population.columns)
    for name in {"portal", "onestop", "messages"} - {source}:
        columns[name] = np.zeros(len(population), dtype=np.bool_)
    return Population(population.seed, columns)


def _shown(frame: pd.DataFrame, names: list[str]) -> dict[str, tuple[Any, ...]]:
    rows = frame[["dossier_code", *names]].sort_values("dossier_code")
    plain = rows.astype(object).where(rows.notna(), None)
    return {str(row[0]): tuple(row[1:]) for row in plain.itertuples(index=False, name=None)}


@pytest.mark.parametrize(
    ("vendor", "source"), [("td", "onestop"), pytest.param("opencps", "portal", marks=pytest.mark.slow)]
)
def test_core_equals_the_truth_that_the_schema_carries(
    server: Server, population: Population, tmp_path: Path, vendor: str, source: str
) -> None:
    filled(server, vendor, population, DEFAULT_CLOCK)
    home = Home(tmp_path, settings_of(server, f"{vendor}-database"))
    count = home.night(DEFAULT_CLOCK)
    conformed = home.conformed()
    assert count.rows_quarantined == 0
    assert [one.rows_quarantined for one in conformed.counts if one.source == "replica"] == [0]

    truth = truth_tables(alone(population, source), DEFAULT_CLOCK)["dossier"].to_pandas()
    truth = truth[truth.dossier_code.notna()]
    found = core(home, "CORE_DOSSIER").to_pandas()
    found = found[found.dossier_code.notna()]
    assert len(truth) > 100
    assert _shown(found, list(_SAME.values())) == _shown(truth, list(_SAME))

    rows = standing(population, DEFAULT_CLOCK, {"portal": 0, "onestop": 1}[source])
    by_code = {population.columns["code"][row]: row for row in rows}
    result = population.whole("result") <= seconds(DEFAULT_CLOCK)
    known = found.set_index("dossier_code")
    assert known.has_electronic_result.to_dict() == {code: bool(result[by_code[code]]) for code in known.index}
    column = "components" if source == "onestop" else "attached"
    assert known.component_count.to_dict() == {
        code: int(population.whole(column)[by_code[code]]) for code in known.index
    }


def test_td_tells_reuse_and_digitisation_of_components(
    postgresql: Server, population: Population, tmp_path: Path
) -> None:
    filled(postgresql, "td", population, DEFAULT_CLOCK)
    home = Home(tmp_path, settings_of(postgresql, "td-database"))
    home.night(DEFAULT_CLOCK)
    raw = {row["dossier_code"]: row for row in home.raw().values()}
    for row in standing(population, DEFAULT_CLOCK, 1):
        papers = raw[population.columns["code"][row]]["components"]
        count, attached, digitised, reused = (
            int(population.whole(name)[row]) for name in ("components", "attached", "digitised", "reused")
        )
        assert len(papers) == count
        assert sum(paper["has_file"] for paper in papers) == attached
        assert sum(paper["reuse_code"] in ("1", "2") for paper in papers) == reused
        assert sum(paper["is_digitised"] == "1" for paper in papers) == min(count, digitised + reused)
