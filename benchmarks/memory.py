"""Peak memory, each measurement in a process of its own: ``python -m benchmarks.memory CODE ROWS``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import memory, number, table

TITLE = "Memory"
RUNS = (("mixpipe", 1_000_000), ("mixpipe", 10_000_000), ("scikit-learn", 1_000_000))
MAX_COMPONENTS = 10


def _measure_here(code: str, n_data: int) -> dict[str, float]:
    """Megabytes in this process: of the data, before the call with the data in place, and at the peak of the call."""
    import mixpipe
    from benchmarks import peers
    from benchmarks.measure import seconds
    from benchmarks.simulate import overlap

    x, err = overlap(n_data)
    if code == "mixpipe":
        # Compiled code is loaded before the count.
        mixpipe.choose_n_components(x[:30_000], err[:30_000], max_components=2)
    else:
        peers.sklearn_fit(x[:1000], 2, 0)
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
    before = memory("VmRSS")
    if code == "mixpipe":
        time = seconds(lambda: mixpipe.choose_n_components(x, err, max_components=MAX_COMPONENTS))
        data = (x.nbytes + err.nbytes) / 1e6
    else:
        time = seconds(lambda: peers.sklearn_fit(x, MAX_COMPONENTS, 0))
        data = x.nbytes / 1e6
    return {"data": data, "before": before, "peak": memory("VmHWM"), "seconds": time}


def measure() -> dict[str, Any]:
    """All runs."""
    if not Path("/proc/self/clear_refs").exists():
        return {"rows": []}
    rows = []
    for code, n_data in RUNS:
        command = [sys.executable, "-m", "benchmarks.memory", code, str(n_data)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        rows.append({"code": code, "n_data": n_data, **json.loads(done.stdout)})
    return {"rows": rows}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    body = [
        [
            row["code"],
            f"{row['n_data']:,}",
            *(number(value) for value in (row["data"], row["peak"], row["peak"] - row["before"])),
            number((row["peak"] - row["before"]) / row["data"]),
            number(row["seconds"]),
        ]
        for row in result["rows"]
    ]
    return "\n\n".join(
        [
            f"Peak resident memory in megabytes, each run in a process of its own (Linux). mixpipe: "
            f"`choose_n_components`, M = 1 to {MAX_COMPONENTS}, values and errors; scikit-learn: M = {MAX_COMPONENTS} "
            f"alone, values without errors. The rise is what the call adds to the process with the data and the "
            f"compiled code in it.",
            table(["code", "rows", "data", "peak", "rise in the call", "rise / data", "seconds"], body),
        ]
    )


if __name__ == "__main__":
    print(json.dumps(_measure_here(sys.argv[1], int(sys.argv[2]))))
