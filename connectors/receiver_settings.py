"""What an integrator writes about the receiver of national-portal messages, in the province's YAML file.

Belongs here: where it listens, how much it accepts, who may send. Does not belong here: the protocol
(`npsp_receiver.py`), nor secrets: the file names the environment variables that hold them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

from connectors.settings import VariableName

_MIB = 1024 * 1024


def _no_success(code: int) -> int:
    if code == 0:
        raise ValueError("0 means success; a dossier that is known already must be told by another code")
    return code


UrlPath = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)+$", description="path of an address, no trailing slash")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReceiverAccount(_Strict):
    """One vendor that sends; its key under `accounts` is the user name."""

    password_env: VariableName
    #: Header `dstcode` of the adapter protocol; an account without one can only use the gateway.
    dstcode: Annotated[str, Field(min_length=1)] | None = None
    #: `madonvi` (adapter) or `MaDinhDanhDV` (gateway) that the account may send for.
    madonvi: Annotated[tuple[str, ...], Field(min_length=1)]
    #: How this vendor's client reads `error_code`: stacks differ, and few read both.
    error_code: Literal["int", "string"] = "int"
    #: `error_code` beside "đã tồn tại"; clients are known to treat 0, 3 and -3 as processed.
    duplicate_code: Annotated[int, AfterValidator(_no_success)] = 3
    #: Token that the gateway accepts as `Authorization: Bearer …`, beside Basic with the password.
    token_env: VariableName | None = None


class ReceiverSettings(_Strict):
    """The national portal's message format as a receiver (sources chapter 3)."""

    #: Where the journal is written: the folder of a source of kind npsp-log. Below THUOCDO_HOME when relative.
    folder: Path
    #: TLS and the outside world are a reverse proxy's business.
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8770
    auth_endpoint: UrlPath = "/VXPAdapter/RestService/forward/auth"
    integration_endpoint: UrlPath = "/VXPAdapter/RestService/forward/integration"
    #: Above `/DongBoHoSoMC` and `/CapNhatTienDoHoSoMC` of the REST variant.
    gateway_endpoint: UrlPath = "/gateway"
    accounts: Annotated[dict[str, ReceiverAccount], Field(min_length=1)]
    #: Clients keep a session for a day and do not log in again by themselves before that.
    session_seconds: PositiveInt = 26 * 3600
    max_body_bytes: Annotated[int, Field(gt=0, le=256 * _MIB)] = 8 * _MIB
    #: The reader counts the records of a call with four digits.
    max_records: Annotated[int, Field(gt=0, le=9999)] = 1000
    #: Time a client has to send one body.
    body_seconds: PositiveInt = 60
    #: Connections beyond this are turned away; with `max_body_bytes` it bounds memory.
    max_connections: PositiveInt = 128
    #: A journal file is closed, and so given to the night, at this size or age.
    rotate_bytes: PositiveInt = 64 * _MIB
    rotate_seconds: PositiveInt = 600
    #: Journal files that every night's source has read are removed after so many days; never unless said. A lake that
    #: is restored from a backup reads again what is newer than the backup: keep the files longer than that.
    keep_days: PositiveInt | None = None
