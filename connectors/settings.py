"""What an integrator writes about a source, in the province's YAML file.

Belongs here: one settings class per kind of source, each key with its unit and safe default. Does
not belong here: how a source is read (one module per protocol), nor secrets: the file names the
environment variables that hold them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, NonNegativeInt, PositiveFloat, PositiveInt

from connectors.manners import CallingHours


class MissingSecret(LookupError):  # noqa: N818  says what is wrong
    """An environment variable that the configuration names is not set."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"environment variable {variable} is not set; it holds a secret that the configuration names")
        self.variable = variable


def secret(variable: str) -> str:
    """The value of an environment variable that the configuration names; `MissingSecret` when unset or empty."""
    value = os.environ.get(variable, "")
    if not value:
        raise MissingSecret(variable)
    return value


def _no_trailing_slash(url: HttpUrl) -> str:
    return str(url).rstrip("/")


def _readable_hours(texts: tuple[str, ...]) -> tuple[str, ...]:
    CallingHours.of(texts)
    return texts


BaseUrl = Annotated[HttpUrl, AfterValidator(_no_trailing_slash)]
VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", description="name of an environment variable")]


class Strict(BaseModel):
    """Keys that are not known are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HttpManners(Strict):
    """How politely a source is called."""

    requests_per_second: PositiveFloat = 50.0
    #: Calls under way at most; fewer when answers get slow (`connectors/manners.py`).
    concurrency: PositiveInt = 4
    timeout_seconds: PositiveFloat = 60.0
    #: Tries of one call, a quarter of a minute in all: long enough for a server that is started anew.
    attempts: PositiveInt = 7
    #: Spans of the day in Vietnam in which the source may be called, as "19:00-06:00"; always when left out.
    calling_hours: Annotated[tuple[str, ...], AfterValidator(_readable_hours)] = ()
    #: Outside them a night waits for so long at most, then gives the source up until the next night.
    patience_minutes: NonNegativeInt = 60


class Comparing(Strict):
    """How what is stored is compared with what the source still has; only a comparison makes a tombstone."""

    #: Within so many nights the whole history is read again and compared once; 0: never.
    full_comparison_days: NonNegativeInt = 30
    #: A comparison in which more than this share of the stored records, and more than so many, are missing is
    #: taken for a failed search: nothing is marked as gone, and the night says so.
    missing_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    missing_floor: NonNegativeInt = 20
    #: So many missing records are asked about one by one each night before they are believed to be gone.
    confirmations: PositiveInt = 200


class OpenCpsSettings(Comparing):
    """Provincial service portal: OpenCPS REST v2 (sources/systems chapter 1)."""

    kind: Literal["opencps"]
    base_url: BaseUrl
    sites: Annotated[list[int], Field(min_length=1, description="groupId of every agency site")]
    username_env: VariableName
    password_env: VariableName
    zone: str = "Asia/Ho_Chi_Minh"
    page_rows: Annotated[int, Field(gt=0, le=10_000)] = 500
    #: Liferay's index.search.limit: a list that reaches it was cut off.
    search_limit: PositiveInt = 10_000
    #: Windows are re-read by this much: indexes run late and may be shifted by the server's zone.
    overlap_days: PositiveInt = 3
    #: What was released or returned within this many days is listed again every night: papers and
    #: payments arrive late, and nothing else would show that they did.
    late_days: NonNegativeInt = 30
    #: The portal's own list of deleted dossiers is read for what was submitted or received in so many days.
    deleted_days: NonNegativeInt = 400
    #: How the index keeps its days is found out anew after so many days.
    zone_probe_days: PositiveInt = 30
    lag_minutes: NonNegativeInt = 10
    manners: HttpManners = HttpManners()


class IGateSettings(Comparing):
    """One-stop system: VNPT iGate v2 REST (sources/systems chapter 4.1)."""

    kind: Literal["igate"]
    base_url: BaseUrl
    token_url: BaseUrl
    client_id_env: VariableName
    client_secret_env: VariableName
    page_rows: Annotated[int, Field(gt=0, le=1000)] = 500
    fee_batch: Annotated[int, Field(gt=0, le=200)] = 100
    #: A change becomes visible only when its transaction ends: what ends within so many minutes of the time it
    #: carries is found the next night, what takes longer by the comparison.
    lag_minutes: NonNegativeInt = 10
    manners: HttpManners = HttpManners()


class MessageLogSettings(Strict):
    """The one-stop system's log of messages to the national portal: NDJSON files dropped in a folder (chapter 3)."""

    kind: Literal["npsp-log"]
    folder: Path
    pattern: str = "*.ndjson"
    zone: str = "Asia/Ho_Chi_Minh"
    #: A file younger than this may still be written to and is left for the next night.
    settle_seconds: NonNegativeInt = 60
