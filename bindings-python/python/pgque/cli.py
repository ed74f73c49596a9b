"""The command ``pgque``: the core's, and ``worker``, which runs Python."""

from __future__ import annotations

import sys

from ._pgque import cli_main


def main() -> None:
    """Run the command with this process's arguments and exit with its code."""
    args = sys.argv[1:]
    if args[:1] == ["worker"]:
        from . import _worker

        sys.exit(_worker.main(args[1:]))
    sys.exit(cli_main(["pgque", *args]))
