"""The indicators: definitions as data, one file each, and the one evaluator that computes them all."""
