"""Tests: one folder per area, behaviour through public doors."""
