"""Folders of the project that tests read from."""

from __future__ import annotations

from pathlib import Path

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
GOLDEN = TESTS / "golden"
ROOT = TESTS.parent
DOCS = ROOT / "docs"
SAMPLE_LOGS = ROOT / "sample_logs"
SHOP = f"{SAMPLE_LOGS / 'shop.py'}:app"
"""The sample app, as `--app` takes it."""
