"""Notebooks as pages of the manual: `python docs/notebooks.py docs/tutorial.ipynb` runs one and stores what it shows.

A notebook is run here as Jupyter would run it, in one namespace and in its own folder. What a cell prints, and the
value of its last expression, are stored in it; nothing that differs from run to run or from machine to machine is.
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def run_notebook(path: Path) -> list[Cell]:
    """The cells of a notebook after a run, with their outputs."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    with contextlib.chdir(path.parent):
        number = 0
        for cell in cells:
            if cell["cell_type"] == "code":
                number += 1
                cell["execution_count"] = number
                cell["outputs"] = _run("".join(cell["source"]), namespace, number)
    return cells


def _run(source: str, namespace: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """The outputs of one cell."""
    body = ast.parse(source).body
    last = ast.Expression(body.pop().value) if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), namespace)  # noqa: S102
        shown = None if last is None else eval(compile(last, "cell", "eval"), namespace)  # noqa: S307
    outputs = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(True)})
    if shown is not None:
        data = {"text/plain": repr(shown).splitlines(True)}
        if hasattr(shown, "_repr_html_") and (html := shown._repr_html_()):
            data["text/html"] = html.splitlines(True)
        if hasattr(shown, "_repr_png_"):
            data["image/png"] = base64.b64encode(shown._repr_png_()).decode()
        outputs.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    return outputs


def to_markdown(text: str, name: str) -> str:
    """The page of a notebook: its text, its code, and what it stores below each cell."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f"![figure of the cell above](data:image/png;base64,{data['image/png']})")
            else:
                shown = "".join(output.get("text") or data["text/plain"])
                parts.append(f"```text\n{shown.rstrip()}\n```")
    parts.insert(1, f"This page is a notebook for Jupyter: {{download}}`{name}`.")
    return "\n\n".join(parts) + "\n"


def main(path: Path) -> None:
    """Run a notebook and store its outputs."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"] = run_notebook(path)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main(Path(sys.argv[1]))
