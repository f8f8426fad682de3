"""The rows of a fit as a FITS table: the same numbers as in the Parquet file, with units."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.pipeline import members
from mixpipe.results import tables
from mixpipe.results.provenance import code_hash
from tests.records import fit_record

MIXTURE = Mixture([0.3, 0.7], [-1.0, 2.0], [0.5, 1.0])


def written(folder, labels, label="name", limits=None):
    rng = np.random.default_rng(1)
    x = MIXTURE.sample(labels.size, rng)
    cells = Cells.from_rows(x, 0.3, limits=limits)
    tables.write_members(folder / "members.parquet", MIXTURE, label, [(labels, cells)], limited=limits is not None)
    fit_record(unit="km/s", catalog="stars", release="dr1", column="rv").write(folder / "fit.json")
    paths = [str(folder / name) for name in ("fit.json", "members.parquet", "members.fits")]
    members.write_fits_members(code_hash("members"), *paths)
    return pd.read_parquet(folder / "members.parquet"), folder / "members.fits"


@pytest.mark.parametrize("block", [7, 1 << 17])
def test_same_rows_as_in_the_parquet_file(tmp_path, monkeypatch, block):
    monkeypatch.setattr(members, "_BLOCK", block)
    labels = np.array([f"star {k} ü" for k in range(50)])
    rows, path = written(tmp_path, labels)
    table = QTable.read(path, hdu="MEMBERS")
    assert table.colnames == rows.columns.tolist()
    assert [str(name) for name in table["name"]] == labels.tolist()
    for name in ("value", "err", "true_mean", "true_unc"):
        assert table[name].unit == u.km / u.s
        np.testing.assert_array_equal(table[name].value, rows[name])
    for name in ("component", "p_1", "p_2"):
        np.testing.assert_array_equal(table[name], rows[name])


def test_a_row_without_a_key_has_none(tmp_path):
    """Keys that are whole numbers; FITS has no nan for these."""
    labels = np.ma.MaskedArray([7, 8, 2**60], mask=[False, True, False])
    _, path = written(tmp_path, labels, "id")
    assert QTable.read(path, hdu="MEMBERS")["id"].tolist() == [7, None, 2**60]
    _, path = written(tmp_path, labels.data, "id")
    assert "TNULL1" not in fits.getheader(path, "MEMBERS")


def test_a_key_of_any_name(tmp_path):
    _, path = written(tmp_path, np.arange(3), "numéro")
    assert QTable.read(path, hdu="MEMBERS")["num?ro"].tolist() == [0, 1, 2]


def test_the_file_is_standard_fits(tmp_path):
    _, path = written(tmp_path, np.arange(5), "row", limits=[0, -1, 1, 0, 0])
    assert path.stat().st_size % 2880 == 0
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert hdus["MEMBERS"].data["limit"].tolist() == [0, -1, 1, 0, 0]
        assert hdus["MEMBERS"].header["COLUMN"] == "rv"
