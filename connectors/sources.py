"""Every kind of source that a province's file can name.

Belongs here: the union of their settings. Does not belong here: any of them, nor how they are read
(`assets/raw/kinds.py` joins a kind with its connector and its tables).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from connectors.database import DatabaseSettings
from connectors.files import FilesSettings
from connectors.rest import RestSettings
from connectors.settings import IGateSettings, MessageLogSettings, OpenCpsSettings

SourceSettings = Annotated[
    OpenCpsSettings | IGateSettings | MessageLogSettings | DatabaseSettings | FilesSettings | RestSettings,
    Field(discriminator="kind"),
]
