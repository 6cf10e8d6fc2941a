"""What measurements come to: a line for each model, by which the memory of other shapes is foretold, and the figure.

    measure_report.py < MEASUREMENTS.json

Prints JSON: `models`, and `figure`, a PNG in base64.

A model's memory is taken for a sum: what Jupyter and the library take at all (what the smallest shape needed), the array, and parts
that grow with the shape and are never negative: copies of the array, what is kept for each row, and with SVC its kernel matrix
(float32, up to the `cache_size` of 200 MB that scikit-learn documents). The parts are fitted to relative errors, by non-negative
least squares; what too few shapes leave open is taken for small.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls

MIB = 2**20
#: What each row of float64, labels and neighbours may keep: a unit, in bytes.
A_ROW = 64
#: How much a part weighs against the measurements: enough to decide where they leave it open.
SMALL = 0.01
#: Fewer shapes leave nothing to be held out.
LEAST_SHAPES = 4
#: Of held-out shapes those count that need more than this, in MiB.
TOLD_ABOVE = 200


def parts(row: dict[str, Any]) -> dict[str, float]:
    """What each part of this shape comes to in MiB, taken once."""
    found = {"array": rows_by_cols(row), "rows": row["rows"] * A_ROW / MIB}
    return found | ({"kernel_matrix": min(4 * row["rows"] ** 2, 200e6) / MIB} if row["model"] == "SVC" else {})


def rows_by_cols(row: dict[str, Any]) -> float:
    """The array's size in MiB."""
    return float(row["rows"] * row["cols"] * 8 / MIB)


def fitted(measured: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How often each part is taken, and the base in MiB."""
    smallest = min(measured, key=rows_by_cols)
    base = smallest["needed_mib"] - rows_by_cols(smallest)
    needed = np.array([row["needed_mib"] for row in measured], dtype=float)
    taken = np.array([list(parts(row).values()) for row in measured])
    once = np.array([rows_by_cols(row) for row in measured])
    # Relative to what was needed; a last line for each part draws it towards nothing.
    lines = np.vstack([taken / needed[:, None], SMALL * np.eye(taken.shape[1])])
    sums = np.concatenate([(needed - base - once) / needed, np.zeros(taken.shape[1])])
    weights = dict(zip(parts(smallest), nnls(lines, sums)[0].tolist(), strict=True))
    return {"base": base, **weights, "array": weights["array"] + 1}


def foretold(weights: dict[str, float], row: dict[str, Any]) -> float:
    """What this shape will need, in MiB. `advise` computes the same."""
    return weights["base"] + sum(weights[name] * part for name, part in parts(row).items())


def held_out(measured: Sequence[dict[str, Any]]) -> list[float]:
    """Relative errors on shapes that the fit had not seen: each third of them once, where they need much."""
    errors = []
    ordered = sorted(measured, key=lambda row: (rows_by_cols(row), row["rows"]))
    for third in range(3):
        unseen = [row for number, row in enumerate(ordered) if number % 3 == third]
        weights = fitted([row for number, row in enumerate(ordered) if number % 3 != third])
        errors += [foretold(weights, row) / row["needed_mib"] - 1 for row in unseen if row["needed_mib"] > TOLD_ABOVE]
    return errors


def models(measurements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By model, where enough was measured: weights, error, and how far the shapes go."""
    found = {}
    names = {row["model"] or "none" for row in measurements}
    for name in sorted(names):
        measured = [row for row in measurements if (row["model"] or "none") == name and row["ended"] == "done" and row["needed_mib"]]
        if len({(row["rows"], row["cols"]) for row in measured}) < LEAST_SHAPES:
            continue
        errors = [abs(error) for error in held_out(measured)]
        found[name] = {
            "weights": {part: round(weight, 4) for part, weight in fitted(measured).items()},
            "shapes": len(measured),
            "held_out": len(errors),
            "error": round(max(errors), 3) if errors else None,
            "most_rows": max(row["rows"] for row in measured),
            "most_array_mib": round(max(map(rows_by_cols, measured)), 1),
        }
    return found


def came_to(row: dict[str, Any]) -> int:
    """What was needed in MiB, or the limit at which it died."""
    return int(row["limit_mib"] if row["ended"] == "out of memory" else row["needed_mib"] or 0)


def figure(measurements: Sequence[dict[str, Any]], limit_mib: int, kind: str) -> bytes:
    """The memory of each model by the array's size, both on a logarithmic scale, and the limit."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(8, 5.5), layout="constrained")
    axes = canvas.subplots()
    names = list(dict.fromkeys(row["model"] or "array alone" for row in measurements))
    for name in names:
        rows = sorted((row for row in measurements if (row["model"] or "array alone") == name), key=rows_by_cols)
        (line,) = axes.plot([rows_by_cols(row) for row in rows], [came_to(row) for row in rows], marker="o", label=name)
        died = [row for row in rows if row["ended"] == "out of memory"]
        sizes, ends = [rows_by_cols(row) for row in died], [came_to(row) for row in died]
        axes.plot(sizes, ends, linestyle="none", marker="x", markersize=11, color=line.get_color())
    axes.axhline(limit_mib, color="black", linestyle="--", label=f"limit of Jupyter on a {kind}: {limit_mib} MiB")
    axes.plot([], [], linestyle="none", marker="x", color="black", label="out of memory")
    axes.set(xscale="log", yscale="log", xlabel="size of the array (MiB)", ylabel="most memory needed (MiB)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(visible=True, which="both", alpha=0.3)
    canvas.legend(loc="outside lower center", ncols=3)
    written = io.BytesIO()
    canvas.savefig(written, format="png", dpi=100, metadata={"Software": None})
    return written.getvalue()


def main() -> None:
    asked = json.load(sys.stdin)
    drawn = figure(asked["measurements"], asked["limit_mib"], asked["type"])
    print(json.dumps({"models": models(asked["measurements"]), "figure": base64.b64encode(drawn).decode()}))


if __name__ == "__main__":
    main()
