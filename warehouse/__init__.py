"""Where it lives: table declarations, the lake, the SQL database, the compute engine, reference data.

Knows nothing of Dagster, of sources or of indicators.
"""
