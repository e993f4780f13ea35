"""One conformed row per dossier: matching, giving codes their meaning, merging what the sources claim.

The queries are in `sql/`, one file per step, in the order in which `conform.py` runs them.
"""
