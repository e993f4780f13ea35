"""Connectors: state machines without I/O, and the loop against a real server."""
