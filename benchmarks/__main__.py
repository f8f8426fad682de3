"""``python -m benchmarks [PART ...]``: measure, print the tables, and write docs/benchmarks.md and its figure.

Parts that are not named keep the numbers of the last run, which are kept in benchmarks/measured.json.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from benchmarks import (
    arrival,
    choice,
    clusters,
    columns,
    comparison,
    constrained,
    coverage,
    exactness,
    few_rows,
    general,
    general_scale,
    hard,
    joint,
    joint_comparison,
    joint_studies,
    limits,
    memory,
    passes,
    photoz,
    recovery,
    resolution,
    scale,
    start,
    unusual,
    varied,
)
from benchmarks.figure import draw, draw_joint, draw_scale
from benchmarks.measure import between_marks, machine, number, table, timed, write_text

ROOT = Path(__file__).parents[1]
MEASURED = Path(__file__).with_name("measured.json")
PAGE = ROOT / "docs" / "benchmarks.md"
FIGURE = ROOT / "docs" / "figures" / "benchmark.png"
PARTS = {
    "passes": passes,
    "choice": choice,
    "exactness": exactness,
    "arrival": arrival,
    "hard": hard,
    "varied": varied,
    "recovery": recovery,
    "coverage": coverage,
    "few_rows": few_rows,
    "comparison": comparison,
    "limits": limits,
    "unusual": unusual,
    "general": general,
    "general_scale": general_scale,
    "photoz": photoz,
    "constrained": constrained,
    "memory": memory,
    "scale": scale,
    "columns": columns,
    "clusters": clusters,
    "start": start,
    "joint": joint,
    "joint_studies": joint_studies,
    "joint_comparison": joint_comparison,
    "resolution": resolution,
}
# What takes hours is measured where it is named.
LONG = {"comparison", "joint_studies", "resolution"}
# Parts that compare with something measured in the same run, and by how much their ratios differ from run to run.
COMPARED = tuple(name for name, part in PARTS.items() if hasattr(part, "ratios"))
NOISE = 1.5


def _read() -> dict[str, dict]:
    return json.loads(MEASURED.read_text()) if MEASURED.exists() else {}


def tables(measured: dict[str, dict]) -> str:
    """Markdown of all parts that have been measured."""
    texts = []
    for name, part in PARTS.items():
        if name not in measured:
            continue
        run = measured[name]
        note = (
            f"*`python -m benchmarks {name}`: {run['seconds']:.0f} s; load average of the machine "
            f"{run['load'][0]:.1f} before and {run['load'][1]:.1f} after. {run['machine']['processor']}, "
            f"{run['machine']['cores']} cores, Python {run['machine']['python']}, "
            + ", ".join(f"{key} {run['machine'][key]}" for key in list(run["machine"])[3:])
            + ".*"
        )
        texts.append(f"## {part.TITLE}\n\n{part.page(run['result'])}\n\n{note}")
    return "\n\n".join(texts)


def slower(recorded: dict[str, float], found: dict[str, float]) -> list[str]:
    """The ratios that exceed the recorded ones by more than noise does, in words; new ones have nothing to exceed.

    >>> slower({"a": 0.01, "b": 2.0}, {"a": 0.012, "b": 4.0, "c": 9.0})
    ['b: 4, recorded 2']
    """
    return [
        f"{name}: {ratio:.3g}, recorded {recorded[name]:.3g}"
        for name, ratio in found.items()
        if name in recorded and ratio > NOISE * recorded[name]
    ]


def check(parts: list[str]) -> bool:
    """Measure parts with ratios again, say which have become slower, and write nothing; whether none has."""
    measured, worse = _read(), []
    for name in parts:
        found, recorded = PARTS[name].ratios(PARTS[name].measure()), PARTS[name].ratios(measured[name]["result"])
        body = [[key, number(recorded.get(key)), number(ratio)] for key, ratio in found.items()]
        print(f"## {PARTS[name].TITLE}\n\n{table(['ratio', 'recorded', 'now'], body)}\n", flush=True)
        worse += [f"{name}, {text}" for text in slower(recorded, found)]
    print("\n".join(["slower than recorded:", *worse] if worse else ["nothing is slower than recorded"]))
    return not worse


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; all but {', '.join(LONG)} by default")
    parser.add_argument("--tables", action="store_true", help="measure nothing: tables and figure of the last run")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"compare the ratios of speed with the recorded ones, of {', '.join(COMPARED)} by default; write nothing",
    )
    args = parser.parse_args()
    if unknown := set(args.part) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}: expected {', '.join(PARTS)}")
    if args.check:
        if bare := set(args.part) - set(COMPARED):
            parser.error(f"{', '.join(sorted(bare))} without ratios of speed: expected {', '.join(COMPARED)}")
        raise SystemExit(0 if check(args.part or list(COMPARED)) else 1)
    measured = _read()
    for name in [] if args.tables else args.part or [name for name in PARTS if name not in LONG]:
        print(f"measuring: {name}", flush=True)
        load = os.getloadavg()[0]
        found, time = timed(PARTS[name].measure)
        measured = _read()
        measured[name] = {
            "result": found,
            "seconds": time,
            "load": [load, os.getloadavg()[0]],
            "machine": machine(),
        }
        # After each part, so that an interrupted run keeps what it has.
        write_text(MEASURED, json.dumps(measured, indent=1) + "\n")
    text = tables(measured)
    print(text)
    write_text(PAGE, between_marks(PAGE.read_text(encoding="utf-8"), text))
    if {"passes", "choice", "arrival"} <= measured.keys():
        FIGURE.parent.mkdir(exist_ok=True)
        draw({name: run["result"] for name, run in measured.items()}, FIGURE)
    if "scale" in measured:
        draw_scale(measured["scale"]["result"], FIGURE.with_name("scale.png"))
    if "joint" in measured:
        draw_joint(measured["joint"]["result"], FIGURE.with_name("joint.png"))


if __name__ == "__main__":
    main()
