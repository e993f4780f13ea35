"""How records come in: one module per protocol, and the one loop that all share.

Belongs here: wire contracts, state machines that turn replies into raw records and further calls,
typing of raw records. Does not belong here: Dagster, the lake, the database, or what a record means
(`assets/raw` joins connectors with storage; conforming comes after).
"""

import warnings

from authlib.deprecate import AuthlibDeprecationWarning

# Authlib announces, on every import of its httpx client and whatever the warning filters say, that a
# later version wants another package; in an operator's log that line says nothing they can act on.
warnings.filterwarnings("ignore", category=AuthlibDeprecationWarning)
