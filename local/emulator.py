"""The emulator's process: the emulator itself, with our patches applied first."""

from __future__ import annotations

import argparse
import gc
import sys

# A collection of all objects stops everything, and the longer the more a cloud
# has kept: for most of a second after two minutes of tests, every ten seconds. It
# finds little, so it comes a hundred times less often than usual.
COLLECTIONS = (700, 10, 1000)


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
    gc.set_threshold(*COLLECTIONS)
    ministack.app.main()


if __name__ == "__main__":
    main()
