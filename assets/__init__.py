"""What is known: one folder per layer, thin Dagster assets beside the pure functions they call.

raw (what each source said) → dossiers (one conformed row each) → indicators → scorecards → publications.
Only the `assets.py` modules know Dagster.
"""
