"""`python -m tools.setup install | link | unlink | hashes`: what the Makefile calls."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.setup.builds import SetupError
from tools.setup.hashes import write_hashes
from tools.setup.install import Installation
from tools.setup.link import link_command, unlink_command
from tools.setup.machine import detect

CHECKOUT = Path(__file__).resolve().parents[2]
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.setup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", help="fill .venv")
    install.add_argument("--torch", default="auto")
    install.add_argument("--llama", default="auto")
    for name in ("link", "unlink"):
        commands.add_parser(name).add_argument("--folder", type=Path, default=Path.home() / ".local" / "bin")
    commands.add_parser("hashes").add_argument("build")
    options = parser.parse_args(arguments)
    try:
        if options.command == "install":
            installation = Installation(CHECKOUT, sys.stdout)
            installation.run(detect(), torch=options.torch, llama=options.llama)
            return 0
        if options.command == "hashes":
            told = write_hashes(options.build)
        elif options.command == "link":
            told = link_command(CHECKOUT, options.folder)
        else:
            told = unlink_command(options.folder)
    except SetupError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; running `make` again goes on from here\n")
        return INTERRUPTED
    sys.stdout.write("\n".join(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
