"""Extraction: from sources to raw tables."""
