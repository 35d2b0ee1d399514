"""The location of this evenbench installation."""

from __future__ import annotations

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
"""The folder of the package `evenbench`: a checkout, or site-packages."""
