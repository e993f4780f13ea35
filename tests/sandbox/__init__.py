"""Tests of the province to practise on."""
