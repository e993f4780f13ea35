"""A folder read once without a store: records, what broke, and the notes of one night."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from connectors.contract import Broken
from connectors.files import FilesSettings, connect
from connectors.protocol import Span
from tests.connectors.files.drops import FIRST_NIGHT, PROFILE


@dataclass
class Done:
    """What came of a folder."""

    records: list[dict[str, Any]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def codes(self) -> list[str]:
        """Codes of the records, in their order."""
        return [each["dossier_code"] for each in self.records]


def settings_of(root: Path, files: Mapping[str, bytes], **profile: Any) -> FilesSettings:
    """A source whose folder holds these files; `profile` are keys that differ from those of most tests."""
    folder = root / "in"
    folder.mkdir(exist_ok=True)
    written = (FIRST_NIGHT - timedelta(hours=12)).timestamp()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, (written, written))
    (root / "profile.yaml").write_text(yaml.safe_dump({**PROFILE, **profile}, allow_unicode=True), encoding="utf-8")
    said = {"kind": "files", "role": "onestop", "profile": str(root / "profile.yaml"), "folder": str(folder)}
    return FilesSettings.model_validate(said)


def read(root: Path, files: Mapping[str, bytes], **profile: Any) -> Done:
    """Read files once."""
    settings, done = settings_of(root, files, **profile), Done()

    async def run() -> None:
        async with connect(settings, name="drop") as folder:
            async for batch in folder.batches(Span(FIRST_NIGHT - timedelta(days=1), FIRST_NIGHT, is_update=False)):
                done.notes.extend(batch.notes)
                for part in batch.parts:
                    done.records.extend(part.records.to_pylist())
                    done.broken.extend(part.broken)

    asyncio.run(run())
    return done
