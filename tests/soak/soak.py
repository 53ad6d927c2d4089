"""Runs random programs by the thousand, in all cores; every failure is printed as readable code, and can be run again alone.

soak.py --programs 20000; then soak.py --seed S --first N --programs 1 for program N of seed S.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak import pool  # this file is started as a script


def main() -> int:
    """0 if nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=20_000, help="how many")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first one")
    parser.add_argument("--seed", type=int, default=None, help="of all programs; a new one unless given, and printed")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes; as many as cores unless given")
    parser.add_argument("--check-ownership", action="store_true", help="check stale reads and writes in every program")
    parser.add_argument("--no-shrink", action="store_true", help="print failures as they are, not the smallest that still fail")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        from soak import worker

        return worker.run(arguments)
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(2**32)
    return pool.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
