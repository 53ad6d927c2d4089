"""Runs random programs by the thousand, in all cores; every failure is printed as readable code, and can be run again alone.

soak.py --programs 20000; then soak.py --seed S --first N --programs 1 for program N of seed S.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak import pool

if __name__ == "__main__":
    sys.exit(pool.main(sys.argv[1:]))
