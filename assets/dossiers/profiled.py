"""Systems connected by a profile, as conforming sees them.

Belongs here: what a profile says of dates and codes, written into the claims' SQL. Does not belong
here: reading the system (`connectors`), or any rule about dossiers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from assets.dossiers.meanings import VALUES, MeaningError
from assets.raw.tables import table_of
from connectors.profiled import Profile, ProfiledSettings, Role, instant_sql
from connectors.sources import SourceSettings
from warehouse.schema import Table


@dataclass(frozen=True)
class Profiled:
    """One profiled system: its name in the province's file, whose place it takes, and its profile."""

    name: str
    role: Role
    profile: Profile

    def __post_init__(self) -> None:
        for kind, codes in self.profile.codes.items():
            for code, value in codes.items():
                if value not in VALUES.get(kind, {value}):
                    known = ", ".join(sorted(VALUES[kind]))
                    raise MeaningError(f"profile of {self.name}: codes.{kind}.{code}: {value!r} is not one of {known}")

    @property
    def table(self) -> Table:
        """Its raw table."""
        return table_of(self.name, self.role)

    @property
    def tells_payments(self) -> bool:
        """Whether its records are transactions of a payment platform, and no dossiers."""
        return self.role == "payments"

    def fingerprint(self) -> str:
        """Changes with everything here that decides what a core row says."""
        return f"{self.name} {self.role} {self.profile.model_dump_json()}"

    def register_codes(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Add the system's codes to `code_map`, under its role and with its name before them.

        What the province's table of codes says of this system counts before what the profile says.
        """
        connection.execute(
            "INSERT INTO code_map SELECT $role, kind, $name || ':' || code, value FROM codes_said WHERE source = $name",
            {"role": self.role, "name": self.name},
        )
        rows = [
            (self.role, kind, f"{self.name}:{code}", value)
            for kind, codes in self.profile.codes.items()
            for code, value in codes.items()
        ]
        for row in rows:
            connection.execute(
                "INSERT INTO code_map SELECT $1, $2, $3, $4 WHERE NOT EXISTS "
                "(SELECT 1 FROM code_map WHERE source = $1 AND kind = $2 AND code = $3)",
                list(row),
            )

    def claims_sql(self, template: str) -> str:
        """`claims_profiled.sql` or `claims_payments.sql` for this system."""
        settled = [code for code, state in self.profile.codes.get("payment_state", {}).items() if state == "settled"]
        listed = ", ".join("'" + code.replace("'", "''") + "'" for code in settled)
        text = template.replace("{system}", self.name).replace("{role}", self.role)
        text = text.replace("{settled}", f"CAST([{listed}] AS VARCHAR[])")
        return re.sub(r"\{instant\(([a-z_.\[\]1]+)\)\}", lambda found: instant_sql(found[1], self.profile), text)


def profiled_systems(sources: Mapping[str, SourceSettings]) -> tuple[Profiled, ...]:
    """The configured sources that are connected by a profile.

    Raises `ProfileError`, or `MeaningError` where a code is given a meaning that does not exist.
    """
    return tuple(
        Profiled(name, settings.role, settings.loaded())
        for name, settings in sources.items()
        if isinstance(settings, ProfiledSettings)
    )
