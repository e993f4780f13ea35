"""What every test shares.

Belongs here: Hypothesis' profile. It is loaded before any test module, while little else is in memory:
CPython 3.11 can fail to parse a module (a recursion depth "mismatch") when garbage is collected
meanwhile, and pytest parses Hypothesis anew wherever bytecode is not written.
"""

from __future__ import annotations

from hypothesis import settings

# Machines differ in speed; an example that is slow is not wrong.
settings.register_profile("thuocdo", deadline=None, print_blob=True)
settings.load_profile("thuocdo")
