"""A process that checks programs, one after another, and tells its parent of each as a line of JSON."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import logging
import os
import warnings
from functools import partial

from . import faster_export
from .check import FAILED, verdict_of
from .draws import Draws, draws_from_seed
from .shrink import shrunk


def run(arguments: argparse.Namespace) -> int:
    """Programs first, first + step, ..."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes with the errors
    with faster_export.installed():
        gc.freeze()
        for number in range(arguments.first, arguments.end, arguments.step):
            print(json.dumps({"begins": number}), file=lines)
            verdict = verdict_of(partial(_draws, arguments.seed, number), arguments.check_ownership)
            told = {"number": number, "outcome": verdict.outcome, "reason": verdict.reason, "facts": verdict.facts}
            if verdict.outcome == FAILED:
                told["text"] = str(verdict.case)
                print(json.dumps(told | {"shrinks": True}), file=lines)
                if not arguments.no_shrink:
                    smaller = shrunk(verdict)
                    told |= {"text": str(smaller.case), "reason": smaller.reason}
            print(json.dumps(told), file=lines)
    return 0


def _draws(seed: int, number: int, attempt: int) -> Draws:
    return draws_from_seed(f"{seed}:{number}:{attempt}")
