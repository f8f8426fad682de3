"""Odd tables of all formats, generated: what is read is what was written, by Astropy, pandas or h5py."""

import gzip
import io
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from mixpipe.catalog import read_catalog
from tests.campaign import mostly_campaign

UNITS = (None, "mas", "km / s", "mag", "Msun", "deg", "Jy")


def truth(rng):
    """A table of three to six columns of numbers and text, some cells missing, with units."""
    n = int(rng.integers(3, 30))
    table = Table()
    for k in range(int(rng.integers(3, 7))):
        kind = rng.choice(["f8", "f4", "i4", "i8", "text"]) if k else "f8"
        name = str(rng.choice(["x", "e_x", "Plx", "[Fe/H]", "B-V", "mass", "a b", "col.1", "µ", "rv"])) + str(k)
        if kind == "text":
            values = np.array([f"S{i}" for i in rng.integers(0, 1000, n)])
        elif kind[0] == "i":
            values = rng.integers(-(10**6), 10**6, n).astype(kind)
        else:
            values = (rng.normal(size=n) * 10.0 ** rng.integers(-3, 6)).astype(kind)
        mask = rng.random(n) < rng.choice([0.0, 0.2])
        mask[0] = False
        unit = None if kind == "text" else rng.choice(np.array(UNITS, dtype=object))
        table[name] = MaskedColumn(values, mask=mask, unit=unit)
    return table


def write_fits(table, path, rng):
    hdus = [fits.PrimaryHDU()]
    if rng.random() < 0.3:
        hdus.append(fits.ImageHDU(np.zeros((2, 2))))
    # Cards are in ASCII.
    filled = table.copy()
    filled.rename_columns(filled.colnames, [name.replace("µ", "mu") for name in filled.colnames])
    for name in filled.colnames:
        if filled[name].dtype.kind == "i":
            filled[name].fill_value = -999999999
    hdus.append(fits.table_to_hdu(filled))
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream)
    content = stream.getvalue()
    path = path.with_suffix(".fits")
    if rng.random() < 0.3:
        path, content = path.with_name("t.fits.gz"), gzip.compress(content)
    path.write_bytes(content)
    return path, {}


def write_csv(table, path, rng):
    separator = str(rng.choice([",", ";", "\t", "|"]))
    word = str(rng.choice(["", "NA", "nan", "null", "N/A", "--", "...", " N/A "]))
    lines = [separator.join(f'"{name}"' if separator in name else name for name in table.colnames)]
    for row in table:
        # Texts that mark a missing value may be names; they are blank there.
        cells = [
            ("" if table[name].dtype.kind == "U" else word) if row[name] is np.ma.masked else str(row[name])
            for name in table.colnames
        ]
        lines.append(separator.join(cells))
    if rng.random() < 0.3:
        lines = ["# a comment", "", *lines]
    if rng.random() < 0.2:
        lines.insert(len(lines) - 1, "# struck out, by hand")
    end = str(rng.choice(["\n", "\r\n"]))
    content = end.join(lines).encode("utf-8-sig" if rng.random() < 0.3 else "utf-8") + end.encode()
    path = path.with_suffix(str(rng.choice([".csv", ".txt", ".dat"])))
    if rng.random() < 0.2:
        path, content = path.with_name(path.name + ".gz"), gzip.compress(content)
    path.write_bytes(content)
    return path, {}


def write_astropy(form, suffix, **options):
    def write(table, path, rng):
        path = path.with_suffix(suffix)
        with warnings.catch_warnings(action="ignore"):
            table.write(path, format=form, overwrite=True, **options)
        return path, {}

    return write


def write_votable(table, path, rng):
    for name in numeric(table):
        if table[name].dtype.kind == "i":
            table[name].mask = False
    path = path.with_suffix(str(rng.choice([".vot", ".xml", ".dat"])))
    # What the writer has to say does not reach another process of pytest.
    with warnings.catch_warnings(action="ignore"):
        table.write(path, format="votable", tabledata_format=str(rng.choice(["tabledata", "binary", "binary2"])))
    return path, {}


def write_hdf5(table, path, rng):
    path = path.with_suffix(".h5")
    layout = rng.choice(["compound", "columns", "vaex", "fixed"])
    filled = {
        name: np.asarray(table[name].filled(0 if table[name].dtype.kind == "i" else np.nan)) for name in numeric(table)
    }
    # HDF5 has no missing whole numbers.
    for name, values in filled.items():
        if values.dtype.kind == "i" and table[name].mask.any():
            filled[name] = np.where(table[name].mask, np.nan, values.astype(float))
    with h5py.File(path, "w") as file:
        if layout == "compound":
            kinds = [(name, values.dtype) for name, values in filled.items()]
            records = np.empty(len(table), dtype=kinds)
            for name, values in filled.items():
                records[name] = values
            file["catalog"] = records
        elif layout == "columns":
            for name, values in filled.items():
                file[f"group/{name.replace('/', '_')}"] = values
        elif layout == "vaex":
            for name, values in filled.items():
                file[f"table/columns/{name.replace('/', '_')}/data"] = values
        else:
            file["df/axis1"] = np.arange(len(table))
            file["df/block0_items"] = np.array([name.encode() for name in filled])
            file["df/block0_values"] = np.stack([values.astype(float) for values in filled.values()], axis=1)
            file["df"].attrs["pandas_type"] = np.bytes_(b"frame")
    return path, {"numeric": True, "renamed": layout in ("columns", "vaex"), "no_units": True}


def write_parquet(table, path, rng):
    path = path.with_suffix(".parquet")
    columns = {}
    for name in table.colnames:
        values = table[name]
        if values.dtype.kind == "i":
            columns[name] = pd.array(np.asarray(values.filled(0)), dtype="Int64")
            columns[name][values.mask] = pd.NA
        else:
            columns[name] = pd.Series(np.asarray(values.filled("" if values.dtype.kind == "U" else np.nan))).astype(
                object
            )
            columns[name][values.mask] = None
            columns[name] = columns[name].astype("string" if values.dtype.kind == "U" else values.dtype)
    frame = pd.DataFrame(columns)
    if rng.random() < 0.3:
        folder = path.with_suffix("")
        folder.mkdir()
        half = len(frame) // 2
        frame[:half].to_parquet(folder / "part-0.parquet")
        frame[half:].to_parquet(folder / "part-1.parquet")
        return folder, {"no_units": True}
    frame.to_parquet(path, row_group_size=int(rng.integers(1, 10)))
    return path, {"no_units": True}


WRITERS = {
    "fits": write_fits,
    "csv": write_csv,
    "ecsv": write_astropy("ascii.ecsv", ".ecsv"),
    "votable": write_votable,
    "ipac": write_astropy("ascii.ipac", ".tbl"),
    "rdb": write_astropy("ascii.rdb", ".rdb"),
    "latex": write_astropy("ascii.latex", ".tex"),
    "mrt": write_astropy("ascii.mrt", ".mrt"),
    "hdf5": write_hdf5,
    "parquet": write_parquet,
}
# Astropy writes no units, or other names, in these.
NO_UNITS = {"csv", "rdb", "latex", "ipac"}


def numeric(table):
    return [name for name in table.colnames if table[name].dtype.kind in "if"]


@pytest.mark.parametrize("seed", mostly_campaign(range(200), 30))
def test_what_is_read_is_what_was_written(tmp_path, seed):
    rng = np.random.default_rng([19, seed])
    table = truth(rng)
    form = list(WRITERS)[seed % len(WRITERS)]
    if form in ("ipac", "rdb", "latex", "mrt"):
        # Their names are words.
        table.rename_columns(table.colnames, [f"c{k}" for k in range(len(table.columns))])
        # Astropy does not write masked single precision in some of them.
        for name in table.colnames:
            if table[name].dtype == np.float32:
                table[name] = MaskedColumn(table[name].astype(float), unit=table[name].unit)
    path, traits = WRITERS[form](table, tmp_path / "t", rng)
    found = read_catalog(path)
    names = numeric(table) if traits.get("numeric") else table.colnames
    said = [name.replace("/", "_") for name in names] if traits.get("renamed") else names
    said = [name.replace("µ", "mu") for name in said] if form == "fits" else said
    assert sorted(found.colnames) == sorted(said)
    for name, other in zip(names, said, strict=True):
        one, two = table[name], found[other]
        np.testing.assert_array_equal(np.ma.getmaskarray(two), one.mask, err_msg=f"{form}: {name}")
        here = ~one.mask
        if one.dtype.kind == "U":
            assert list(np.asarray(two)[here]) == list(np.asarray(one)[here])
            continue
        # Text formats write as many digits as single precision has, or more.
        rtol = 1e-6 if form in ("mrt", "latex") or one.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(np.asarray(two, dtype=float)[here], np.asarray(one, dtype=float)[here], rtol=rtol)
        if form not in NO_UNITS and not traits.get("no_units"):
            assert two.unit == one.unit
