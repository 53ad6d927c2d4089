"""Tries Tenure on every operator, module and export example that PyTorch tests itself with, and writes a table."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from op_cases import all_subjects
from op_tables import failures, summary, write_tables
from op_trial import Outcome, Route
from op_workers import Tried, try_all

AMISS = (Outcome.WRONG, Outcome.CRASHED, Outcome.REFUSED_BY_TENURE)


def main() -> int:
    """Exit status 1 if anything is wrong or crashed, or Tenure refuses over 2 % of what torch.export takes."""
    arguments = _parser().parse_args()
    wanted = [subject for subject in all_subjects() if arguments.only.search(f"{subject.kind} {subject}")]
    if not wanted:
        print(f"nothing matches {arguments.only.pattern!r}", file=sys.stderr)
        return 2
    tried = []
    for each in try_all(wanted, arguments.jobs, arguments.route):
        tried.append(each)
        show_progress(tried)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    table = write_tables(tried, arguments.out, arguments.route)
    print("\n".join(summary(tried)))
    found = failures(tried)
    print(f"\n{'; '.join(found) or 'nothing wrong'}; the whole table: {table}")
    return 1 if found else 0


def show_progress(tried: list[Tried]) -> None:
    """On stderr: what is amiss as soon as it is known, and how far the run is."""
    case, verdict = tried[-1].case, tried[-1].verdict
    is_terminal = sys.stderr.isatty()
    if is_terminal:
        print("\r\033[K", end="", file=sys.stderr)
    if verdict.outcome in AMISS:
        print(f"{verdict.outcome}: {case}: {verdict.reason}", file=sys.stderr)
    if is_terminal:
        print(f"{len(tried)} cases; {case}", end="", file=sys.stderr, flush=True)
    elif len(tried) % 500 == 0:
        print(f"{len(tried)} cases", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="such as 'operator add float32'")
    parser.add_argument(
        "--engines",
        dest="route",
        action="store_const",
        const=Route.ENGINES,
        default=Route.FILE,
        help="compile with null engines instead of loading what torch.export.save wrote",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="processes at once")
    parser.add_argument("--out", type=Path, default=Path("build/op-coverage"), metavar="DIR", help="where the table goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
