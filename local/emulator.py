"""The emulator's process: the emulator itself, with our patches applied first."""

from __future__ import annotations

import argparse
import sys


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--token", required=True, help="tells this process from others; see local/process.py")
    parser.parse_args()
    # The emulator reads the command line itself.
    sys.argv = sys.argv[:1]

    import ministack.app

    from local.patches import install_all

    install_all()
    ministack.app.main()


if __name__ == "__main__":
    main()
