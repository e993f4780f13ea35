"""Indicators held against targets: verdicts, gaps in dossiers, and the scorecard that is printed."""
