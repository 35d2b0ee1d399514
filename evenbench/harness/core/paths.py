"""The location of this evenbench installation."""

from __future__ import annotations

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
"""The folder of the packages `harness`, `backends` and `reports`: a checkout, or site-packages."""
