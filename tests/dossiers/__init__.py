"""Conforming: from source records to one row per dossier."""
