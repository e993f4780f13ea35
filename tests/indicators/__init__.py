"""Indicators: definitions and the evaluator."""
