"""The figures of docs/gallery.md that runs of mixpipe draw: ``python docs/figures/gallery.py``.

The catalogs are read from the folder that ``MIXPIPE_CATALOGS`` names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from two_clusters import examples

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
PAGE = FOLDER.parent / "gallery.md"
# Pictures of the demo and of the configurations of the page, in the results, by their names here.
_OF_DEMO = {
    "neutron_stars/2018/mass/mixture.png": "neutron_stars_2018.png",
    "neutron_stars/compare/2018_to_2024/overlay.png": "neutron_stars_overlay.png",
}
_OF_PAGE = {
    "clusters/edr3/astrometry/corner.png": "joint_clusters.png",
    "galaxies/2000/relation/corner.png": "joint_tully_fisher.png",
    "halo/1/populations/corner.png": "joint_halo.png",
}


def run(config: str, pictures: dict[str, str]) -> None:
    """Run a configuration in the working folder, and keep those pictures that it draws."""
    Path("config.yaml").write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "mixpipe", "run", "--config", "config.yaml", "--results", "results"]
    subprocess.run(command, check=True)  # noqa: S603
    for picture, name in pictures.items():
        if Path("results", picture).is_file():
            shutil.copyfile(Path("results", picture), FOLDER / name)
    shutil.rmtree("results")


def main() -> None:
    """Draw all figures."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.symlink(ROOT / "config", "config")
        os.symlink(Path(os.environ["MIXPIPE_CATALOGS"], "open_clusters").resolve(), "open_clusters")
        run((ROOT / "config/config.yaml").read_text(encoding="utf-8"), _OF_DEMO)
        examples(PAGE)  # which write a catalog
        for config in re.findall("```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
            run(config, _OF_PAGE)
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
