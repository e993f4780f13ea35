"""How records come in: one module per protocol, and the one loop that all share.

Belongs here: wire contracts, state machines that turn replies into raw records and further calls,
typing of raw records. Does not belong here: Dagster, the lake, the database, or what a record means
(`assets/raw` joins connectors with storage; conforming comes after).
"""
