"""Draws what compare.py measured: draw.py results.json picture.svg. Needs matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

COLOURS = ["#9a9a9a", "#c9d8a4", "#8fae4b", "#5f7d1f", "#c2571a"]


def draw(measured: Path, picture: Path) -> None:
    everything = json.loads(measured.read_text())
    models = [found for found in everything["models"] if "failed" not in found]
    figure = Figure(figsize=(3.4 * len(models), 3.6), layout="constrained")
    axes = figure.subplots(1, len(models), squeeze=False)
    for axis, found in zip(axes[0], models, strict=True):
        rows = found["rows"]
        places = range(len(rows))
        axis.bar(places, [row["total"] for row in rows], color=COLOURS, width=0.75)
        axis.scatter(places, [row["host"] for row in rows], marker="_", s=500, color="black", linewidth=1.2, zorder=3)
        for place, row in zip(places, rows, strict=True):
            axis.annotate(f"{row['total']:.0f}", (place, row["total"]), (0, 2), textcoords="offset points", ha="center", fontsize=8)
        axis.set_title(f"{found['model']}: {found['engines']} engines", fontsize=10)
        axis.set_xticks(list(places), list(map(label, rows)), rotation=40, ha="right", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("µs a run")
    figure.suptitle(f"The same engines on {everything['gpu']}, default stream; the line is the host's part", fontsize=11)
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text stays text
        figure.savefig(picture)


def label(row: dict) -> str:
    setting = row["setting"].replace("Torch-TensorRT, ", "")
    return setting if row["results_stay"] else f"{setting}:\noverwrites results"


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
