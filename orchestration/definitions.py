"""What workspace.yaml loads."""

from orchestration.build import build

definitions = build()
