"""The command ``pgque``, which the core holds."""

from __future__ import annotations

import sys

from ._pgque import cli_main


def main() -> None:
    """Run the command with this process's arguments and exit with its code."""
    sys.exit(cli_main(["pgque", *sys.argv[1:]]))
