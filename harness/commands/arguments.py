"""Flags that several commands share."""

from __future__ import annotations

import argparse


def add_json_flag(command: argparse.ArgumentParser) -> None:
    """`--json`: machine-readable output."""
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )
