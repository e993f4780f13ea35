"""What must hold: suites and dated targets as data, their runner, and the factory of Dagster checks.

Knows of tables and numbers; how a number is computed is none of its business. Great Expectations is
imported only while a check runs (see `gx.py`).
"""
