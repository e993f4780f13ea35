"""A province to practise on: real units and procedures of Đắk Lắk, invented dossiers, real wire formats.

Belongs here: the seeded population and its truth, the renderers of the three wire formats and the
loopback server that serves them. Does not belong here: anything the product itself needs; only
tests, benchmarks and the demo command import this package.

Faithful to code that talks to the real systems; no live system was ever asked.
"""
