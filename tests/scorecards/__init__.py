"""Verdicts and the scorecard."""
