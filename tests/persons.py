"""How an invented person of the sandbox would be recognised in text, wherever it turned up.

Belongs here: the one pattern. Names, e-mails and addresses carry marks that occur in no fact; identity
numbers and phones begin with ranges that nobody holds.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq

PERSON = re.compile(r"hư cấu|hu-cau|vi-du\.invalid|tưởng tượng|\b099066\d{6}\b|\b0999\d{6}\b", re.IGNORECASE)


def readable(file: Path) -> str:
    """Everything a file says: Parquet decoded, anything else as text."""
    if file.suffix == ".parquet":
        return str(pq.read_table(file).to_pylist())
    return file.read_bytes().decode("utf-8", errors="replace")
