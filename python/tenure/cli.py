"""The command line: `tenure inspect model.pt2`, `tenure trace model.pt2`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import rich
import typer
from rich.table import Table
from rich.text import Text

from .entry import load
from .errors import Error
from .program import Program
from .runtime import trace as traced
from .sample_inputs import sample_inputs

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def tenure() -> None:
    """Tenure: an ownership-aware runtime for hybrid inference programs."""


File = Annotated[Path, typer.Argument(help="A program that tenure or torch.export saved.", show_default=False)]
Size = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=N", help="Take N for a size that the file leaves open: s77=8. Repeatable."),
]


@app.command()
def inspect(
    file: File,
    size: Size = None,
    as_json: Annotated[bool, typer.Option("--json", help="The explanation as JSON, and nothing else.")] = False,
) -> None:
    """Who owns each value of a program, where it lies, how long it lives and why; nothing is run."""
    program = load(file)
    explanation = program.explain(sizes=_sizes(size or []))
    if as_json:
        sys.stdout.write(explanation.json() + "\n")
        return
    rich.print(_summary(program))
    _show(explanation)


@app.command()
def trace(
    file: File,
    size: Size = None,
    runs: Annotated[int, typer.Option(min=1, help="How many runs are traced, after two that are not.")] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Write a timeline that ui.perfetto.dev and chrome://tracing show.", show_default=False)
    ] = None,
    device: Annotated[str | None, typer.Option(help='Where to run: "cuda".', show_default=False)] = None,
) -> None:
    """Runs a program on made-up inputs and tells where the time goes, node by node.

    Floats are random numbers, integers zeros.
    """
    program = load(file, device=device)
    inputs = sample_inputs(program, _sizes(size or []))
    for _ in range(2):
        program.run(inputs)
    with traced(program) as noted:
        for _ in range(runs):
            program.run(inputs)
    if out is not None:
        noted.save(out)
    _show(noted)


def _show(table: object) -> None:
    """In colour on a terminal; else whole lines, for grep."""
    if sys.stdout.isatty():
        rich.print(table)
    else:
        print(table)


def _sizes(given: list[str]) -> dict[str, int]:
    sizes = {}
    for text in given:
        name, _, value = text.partition("=")
        if not name or not value.isdecimal():
            raise Error("invalid argument", f"--size {text}: write it as NAME=N, as in s77=8")
        sizes[name] = int(value)
    return sizes


def _summary(program: Program) -> Table:
    table = Table(show_header=False, box=None)
    table.add_row("file", Text(str(program.path)))
    table.add_row("inputs", Text("\n".join(map(str, program.inputs)) or "none"))  # Text: [8, 3] is no markup
    table.add_row("outputs", Text("\n".join(map(str, program.outputs)) or "none"))
    stats = program.stats()
    table.add_row("blocks", f"{stats.engine_blocks} engine, {stats.aten_blocks} aten")
    for name, engine in sorted(program.engines.items()):
        flags = ["unowned" if engine.are_output_tensors_unowned(output=i) else "owned" for i in range(len(engine.outputs))]
        table.add_row(name, f"{engine.backend}, outputs {', '.join(flags)}")
    return table


def main() -> None:
    """The entry point: an Error is one line on stderr and exit status 1."""
    try:
        app()
    except Error as error:
        print(f"tenure: {error}", file=sys.stderr)
        sys.exit(1)
