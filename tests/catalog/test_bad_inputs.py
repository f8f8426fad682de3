"""Every way in which a catalog can be bad: the message that it gives, or what of it is kept.

Each row of the table is a file, the options beside it, and either what a message has to say (what, where, what was
expected) or how many rows are used and why others are not.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import resource
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.base.errors import CatalogError, ConfigError, OutputError
from mixpipe.base.files import write_file
from mixpipe.catalog.files import expand_files
from mixpipe.catalog.reading import read_catalog
from mixpipe.config.settings import parse_config
from mixpipe.pipeline.ingest import ingest_release
from mixpipe.pipeline.plan.run import Run, find_problems

N = 12
X = [5.0, 5.5, 4.5, 5.25, 4.75, 5.1, 4.9, 5.6, 4.4, 5.3, 4.7, 5.05]
Maker = Callable[[Path], tuple[Path, list[str]]]


def text(x: list | None = None, e: list | None = None) -> str:
    values, errors = x or X, e or [0.1] * N
    return "x,e\n" + "".join(f"{value},{error}\n" for value, error in zip(values, errors, strict=True))


def changed(row: int, value: object, values: list | None = None) -> list:
    result = list(values or X)
    result[row] = value
    return result


GOOD = text()


def as_bytes(kind: str, **units: str) -> bytes:
    """The good table in a format."""
    table = Table({"x": X, "e": [0.1] * N}, units=units or None)
    stream = io.BytesIO()
    if kind == "parquet":
        pq.write_table(pa.table({"x": X, "e": [0.1] * N}), stream)
    elif kind == "hdf5":
        with h5py.File(stream, "w") as file:
            file["x"], file["e"] = X, [0.1] * N
    elif kind == "ecsv":
        lines = io.StringIO()
        table.write(lines, format="ascii.ecsv")
        stream.write(lines.getvalue().encode())
    else:
        table.write(stream, format=kind)
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("t.csv", GOOD)
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("t.csv")
        entry.size = len(GOOD)
        archive.addfile(entry, io.BytesIO(GOOD.encode()))
    return stream.getvalue()


def two_tables() -> bytes:
    tables = [fits.BinTableHDU(Table({name: X}).as_array(), name=name.upper()) for name in ("y", "x")]
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(stream)
    return stream.getvalue()


def wide() -> str:
    names = ",".join(f"c{number}" for number in range(5000))
    return f"x,e,{names}\n" + "".join(f"{value},0.1{',1' * 5000}\n" for value in X)


def bomb(start: bytes, n_mib: int) -> bytes:
    """A small file that is `n_mib` MiB when it is decompressed."""
    stream = io.BytesIO()
    with gzip.open(stream, "wb", compresslevel=9) as file:
        file.write(start)
        for _ in range(n_mib):
            file.write(b"1" * (1 << 20))
    return stream.getvalue()


def many_laughs() -> str:
    """Entities that multiply: a billion words in a VOTable of one kilobyte."""
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    table = as_bytes("votable").decode().split("?>", 1)[1]
    return f'<!DOCTYPE V [<!ENTITY a0 "ha">{entities}]>' + table.replace(
        "</TABLE>", "<DESCRIPTION>&a9;</DESCRIPTION></TABLE>"
    )


def corrupt(content: bytes, place: int) -> bytes:
    return content[:place] + b"\xff\xff\xff\xff" + content[place + 4 :]


FITS = as_bytes("fits")
GZIP = gzip.compress(GOOD.encode())

# Name of the file, its content, options, and parts of the message in their order.
REFUSED: dict[str, tuple[str, str | bytes, list[str], list[str]]] = {
    "truncated FITS": ("t.fits", FITS[:-2880], [], ["it ends in row 1 of 12", "t.fits", "a whole file"]),
    "FITS cut in its first header": ("t.fits", FITS[:80], [], ["header is damaged or cut short", "t.fits", "a whole"]),
    "FITS cut in the table's header": ("t.fits", FITS[:4000], [], ["no HDU has a table", "t.fits", "a whole FITS"]),
    "FITS by name only": ("t.fits", GOOD, [], ["does not begin as FITS files do", "t.fits", "--format sets another"]),
    "FITS of noise": ("t.fits", b"SIMPLE  =" + bytes(range(200)) * 30, [], ["damaged", "t.fits", "a whole file"]),
    "HDU that is not there": ("t.fits", FITS, ["--hdu", "7"], ["no HDU 7", "t.fits", "one of 1"]),
    "HDU without a table": ("t.fits", FITS, ["--hdu", "0"], ["HDU 0 has no table", "t.fits", "one of 1"]),
    "HDU of another table": ("t.fits", two_tables(), ["--hdu", "Y"], ["no column 'x'", "t.fits", "one of y"]),
    "HDU of a CSV": ("t.csv", GOOD, ["--hdu", "3"], ["found 3", "t.csv", "in option --hdu", "fits format"]),
    "path in a CSV": ("t.csv", GOOD, ["--path", "a"], ["found 'a'", "t.csv", "in option --path", "hdf5 format"]),
    "delimiter of a FITS": ("t.fits", FITS, ["--delimiter", ";"], ["found ';'", "--delimiter", "csv format"]),
    "HTML": ("t.csv", "<!DOCTYPE html><html>404</html>", [], ["a web page", "t.csv", "an error page"]),
    "XML": ("t.xml", '<?xml version="1.0"?><a/>', [], ["cannot be read as votable", "t.xml", "a whole file"]),
    "JSON": ("t.json", '{"x": [1, 2]}', [], ["the file is JSON", "t.json", "the table itself"]),
    "PDF": ("t.csv", b"%PDF-1.7\n", [], ["the file is a PDF", "t.csv", "the table itself"]),
    "empty": ("t.csv", "", [], ["the file is empty", "t.csv", "a table"]),
    "blank": ("t.csv", "\n\n  \n", [], ["the file is empty", "t.csv", "a table"]),
    "header only": ("t.csv", "x,e\n", [], ["the table has no rows", "t.csv", "a header and rows"]),
    "no header": ("t.csv", GOOD[4:], [], ["no header line, the first line is '5.0,0.1'", "t.csv", "column names"]),
    "wrong delimiter": ("t.csv", GOOD, ["--delimiter", ";"], ["no column 'x'", "t.csv", "one of x,e"]),
    "decimal commas": (
        "t.csv",
        GOOD.replace(",", ";").replace(".", ","),
        [],
        ["text in 12 of 12 rows", "'5,0' in row 1", "t.csv", "numbers"],
    ),
    "mixed types": (
        "t.csv",
        text(changed(7, "star")),
        [],
        ["column 'x' has text in 1 of 12 rows", "'star' in row 8", "t.csv", "--missing lists texts"],
    ),
    "duplicated names": ("t.csv", "x,e,x\n1,1,1\n", [], ["column 'x' twice", "t.csv", "each column name once"]),
    "text in numbers": (
        "t.csv",
        text(changed(0, "5 km", changed(3, "6 km"))),
        [],
        ["text in 2 of 12 rows", "'5 km' in row 1", "t.csv", "numbers; this looks like a number with its unit"],
    ),
    "underscores in numbers": ("t.csv", text(changed(2, "4_5")), [], ["'4_5' in row 3", "t.csv", "numbers"]),
    "hexadecimal numbers": ("t.csv", text(changed(2, "0x1f")), [], ["'0x1f' in row 3", "t.csv", "numbers"]),
    "dates": ("t.csv", text(["2020-01-01"] * N), [], ["'2020-01-01' in row 1", "t.csv", "numbers"]),
    "NaN everywhere": ("t.csv", text(["nan"] * N), [], ["no row of 12", "12 missing_value", "t.csv", "column x"]),
    "blank errors": ("t.csv", text(e=[""] * N), [], ["no row of 12", "12 missing_error", "t.csv", "column x"]),
    "all rows cut": ("t.csv", GOOD, ["--where", "x > 99"], ["no row of 12", "12 cut", "t.csv", "column x"]),
    "errors as words": ("t.csv", text(e=["small"] * N), [], ["column 'e'", "12 of 12 rows", "'small'", "t.csv"]),
    "all errors negative": ("t.csv", text(e=[-0.1] * N), [], ["no row of 12", "12 bad_error", "t.csv"]),
    "numbers whose squares overflow": (
        "t.csv",
        text(changed(3, "1e300")),
        [],
        ["column 'x'", "up to 1e+300", "t.csv", "1e+140", "--missing"],
    ),
    "numbers whose squares are zero": (
        "t.csv",
        text([f"{value}e-310" for value in X], [1e-320] * N),
        [],
        ["column 'x'", "e-310", "t.csv", "1e-140"],
    ),
    "unit that cannot be converted": (
        "t.fits",
        as_bytes("fits", x="mas"),
        ["--unit", "Msun"],
        ["column 'x' has the unit mas", "cannot be converted to solMass", "t.fits"],
    ),
    "misspelt unit": ("t.csv", GOOD, ["--unit", "Msnu"], ["unknown unit 'Msnu'", "t.csv", "such as Msun"]),
    "errors in another unit": (
        "t.fits",
        as_bytes("fits", x="mas", e="kg"),
        [],
        ["column 'e' has the unit kg", "t.fits", "a multiple of mas"],
    ),
    "marks of thousands": (
        "t.csv",
        text([f'"1,{value:03.0f}"' for value in X]),
        [],
        ["'1,005' in row 1", "t.csv", "unless it is a mark of thousands"],
    ),
    "line ends of an old Macintosh": ("t.csv", GOOD.replace("\n", "\r"), [], ["carriage return", "t.csv", "Unix"]),
    "column names that differ in blanks only": ("t.csv", "x,x ,e\n1,2,3\n", [], ["column 'x' twice", "t.csv"]),
    "column that differs in capitals": (
        "t.csv",
        GOOD.replace("x,", "X,", 1),
        [],
        ["no column 'x'", "t.csv", "did you mean 'X'?"],
    ),
    "cell of 100 000 characters": ("t.csv", text(changed(1, "z" * 10**5)), [], ["'zzz", "zzz...' in row 2", "t.csv"]),
    "name of 200 000 characters": ("t.csv", f"x,e,{'z' * 200000}\n1,1,1\n", [], ["field limit", "t.csv", "a whole"]),
    "quote without an end": ("t.csv", 'x,e\n1,1\n"2,1\n3,1\n', [], ["inside string", "t.csv", "a whole file"]),
    "vectors": ("t.fits", None, ["--value", "v"], ["column 'v' holds several values a row", "t.fits", "one number"]),
    "weights below zero": (
        "t.csv",
        "x,e,w\n" + "5,1,-1\n" * N,
        ["--weight", "w"],
        ["no row of 12", "12 bad_weight", "t.csv"],
    ),
    "truncated gzip": ("t.csv.gz", GZIP[:-20], [], ["cannot be opened", "t.csv.gz", "a readable catalog file"]),
    "damaged gzip": ("t.csv.gz", corrupt(GZIP, 30), [], ["cannot be opened", "decompressing", "t.csv.gz"]),
    "gzip in gzip": ("t.csv.gz", gzip.compress(GZIP), [], ["compressed by gzip twice", "t.csv.gz", "the table itself"]),
    "zip": ("t.zip", zipped(), [], ["a zip archive", "t.zip", "the table itself"]),
    "zip that is called CSV": ("t.csv", zipped(), [], ["a zip archive", "t.csv", "the table itself"]),
    "zip in gzip": ("t.csv.gz", gzip.compress(zipped()), [], ["a zip archive", "t.csv.gz", "the table itself"]),
    "tar": ("t.tar", tarred(), [], ["a tar archive", "t.tar", "the table itself"]),
    "bzip2": ("t.csv.bz2", bz2.compress(GOOD.encode()), [], ["compressed by bzip2", "t.csv.bz2", "gzipped"]),
    "xz": ("t.csv.xz", lzma.compress(GOOD.encode()), [], ["compressed by xz", "t.csv.xz", "gzipped"]),
    "gzip bomb of one line": ("t.csv.gz", bomb(b"x,e\n", 64), [], ["line 2 has more than 16,777,216", "t.csv.gz"]),
    "gzip bomb in the header": ("t.csv.gz", bomb(b"x", 64), [], ["line 1 has more than 16,777,216", "t.csv.gz"]),
    "entities that multiply": ("t.vot", many_laughs(), [], ["limit on input amplification", "t.vot", "a whole file"]),
    "truncated Parquet": ("t.parquet", as_bytes("parquet")[:-40], [], ["cannot be read as parquet", "t.parquet"]),
    "truncated HDF5": ("t.h5", as_bytes("hdf5")[:1200], [], ["cannot be read as hdf5", "truncated file", "t.h5"]),
    "path that is not in the HDF5": ("t.h5", as_bytes("hdf5"), ["--path", "no"], ["nothing at 'no'", "t.h5"]),
    "truncated VOTable": ("t.vot", as_bytes("votable")[:-200], [], ["cannot be read as votable", "t.vot", "a whole"]),
    "ECSV cut within a row": ("t.ecsv", as_bytes("ecsv")[:-5], [], ["cannot be read as ecsv", "t.ecsv", "a whole"]),
    "MRT without a table": ("t.mrt", "Byte-by-byte Description of file: t\n", [], ["cannot be read as mrt", "t.mrt"]),
    "more components than rows": (
        "t.csv",
        GOOD,
        ["--n-components", "400"],
        ["400 components for 12 rows", "t.csv", "at most one for each row"],
    ),
}

# Name of the file, its content, options, rows used, and why others are not.
KEPT: dict[str, tuple[str, str | bytes, list[str], int, dict[str, int]]] = {
    "number beyond double precision": ("t.csv", text(changed(3, "1e400")), [], N - 1, {"infinite_value": 1}),
    "infinities": ("t.csv", text(changed(1, "Infinity", changed(2, "-inf"))), [], N - 2, {"infinite_value": 2}),
    "some errors blank": ("t.csv", text(e=changed(4, "", [0.1] * N)), [], N - 1, {"missing_error": 1}),
    "some errors negative": ("t.csv", text(e=changed(4, -0.1, [0.1] * N)), [], N - 1, {"bad_error": 1}),
    "errors in quotes": ("t.csv", text(e=['"0.1"'] * N), [], N, {}),
    "one row left": ("t.csv", GOOD, ["--where", "x == 5.25"], 1, {"cut": N - 1}),
    "constant column": ("t.csv", text([3.0] * N), [], N, {}),
    "not UTF-8": ("t.csv", ("t," + text().replace("\n", "\né,", N)).encode("latin-1"), [], N, {}),
    "Windows line ends": ("t.csv", GOOD.replace("\n", "\r\n"), [], N, {}),
    "byte order mark": ("t.csv", "\ufeff" + GOOD, [], N, {}),
    "path with blanks, quotes and more": ('it\'s "a" café; $(touch pwned) & [1]*?.csv', GOOD, [], N, {}),
    "path with a new line": ("a\nb.csv", GOOD, [], N, {}),
    "thousands of columns": ("t.csv", wide(), [], N, {}),
    "100 000 characters in another column": (
        "t.csv",
        "t," + GOOD.replace("\n", f"\n{'z' * 10**5},", N),
        ["--where", "t != 'a'"],
        N,
        {},
    ),
    "rows that are too short": ("t.csv", text().replace(",0.1\n", "\n", 2), [], N - 2, {"missing_error": 2}),
    "names that differ in capitals and signs": (
        "t.csv",
        "x.,X,[x],x,e\n" + "".join(f"1,2,3,{value},0.1\n" for value in X),
        [],
        N,
        {},
    ),
    "file of the system as an entity": (
        "t.vot",
        '<!DOCTYPE V [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        + as_bytes("votable").decode().split("?>", 1)[1].replace("<TD>5<", "<TD>&a;<", 1),
        [],
        N - 1,
        {"missing_value": 1},
    ),
    "most components beyond the rows": ("t.csv", GOOD, ["--max-components", "400"], N, {}),
}


def place(folder: Path, name: str, content: str | bytes | None) -> Path:
    path = folder / name
    if content is None:
        Table({"v": np.ones((N, 3)), "x": X, "e": [0.1] * N}).write(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def fit(path: Path, *options: str) -> tuple[int, str, str]:
    arguments = ["fit", str(path), "--value", "x", "--error", "e", "--max-components", "1", "--json"]
    if "--n-components" in options or "--max-components" in options:
        del arguments[6:8]
    result = CliRunner().invoke(cli.main, [*arguments, *options], prog_name="mixpipe")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_what_where_and_what_was_expected(case, tmp_path):
    name, content, options, parts = REFUSED[case]
    status, output, message = fit(place(tmp_path, name, content), *options)
    assert (status, output) == (2, "")
    (line,) = message.splitlines()
    assert line.startswith("mixpipe: error: ")
    assert ", expected " in line
    assert len(line) < 1000
    end = 0
    for part in parts:
        assert part in line[end:], line
        end = line.index(part, end)


@pytest.mark.parametrize("case", KEPT)
def test_kept_and_the_rest_counted(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, content, options, n_used, dropped = KEPT[case]
    path = place(tmp_path, name, content)
    status, output, message = fit(path, *options)
    assert (status, message) == (0, "")
    document = json.loads(output)
    assert document["n_data"] == n_used
    assert {reason: count for reason, count in document["n_dropped"].items() if count} == dropped
    assert list(tmp_path.iterdir()) == [path]


def test_mean_of_a_constant_column_is_exact(tmp_path):
    document = json.loads(fit(place(tmp_path, "t.csv", text([3.0] * N)))[1])
    assert document["components"][0]["mean"] == pytest.approx(3.0, rel=1e-14)  # rounding of a mean


@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
def test_a_unit_of_the_same_name_as_the_files_is_no_mistake(tmp_path):
    path = place(tmp_path, "t.fits", as_bytes("fits", x="apples"))
    assert fit(path, "--unit", "apples")[0] == 0


class TestPlaces:
    """Files that are not where, or not what, they are said to be."""

    def test_link_that_leads_to_itself(self, tmp_path):
        (tmp_path / "t.csv").symlink_to("t.csv")
        assert "Too many levels of symbolic links" in fit(tmp_path / "t.csv")[2]
        with pytest.raises(ConfigError, match="a link that leads back to itself"):
            expand_files("t.csv", tmp_path)

    def test_link_to_nowhere(self, tmp_path):
        (tmp_path / "t.csv").symlink_to("gone.csv")
        assert "no such file" in fit(tmp_path / "t.csv")[2]

    def test_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "t.csv")
        assert "a pipe or a device" in fit(tmp_path / "t.csv")[2]

    @pytest.mark.parametrize("name", ["a" * 300 + ".csv", "."])
    def test_name_that_no_file_can_have_and_a_folder(self, tmp_path, name):
        said = fit(tmp_path / name)[2]
        assert "the file cannot be opened" in said or "is a folder without Parquet files" in said

    def test_nul_in_a_name(self, tmp_path):
        with pytest.raises(ConfigError, match="a NUL in the name of a file"):
            expand_files("a\0b.csv", tmp_path)

    def test_no_permission_to_read(self, tmp_path):
        path = place(tmp_path, "t.csv", GOOD)
        path.chmod(0)
        code = f"import sys; from mixpipe.cli import main; main(['fit', {str(path)!r}, '--value', 'x'])"
        done = as_nobody([sys.executable, "-c", code], tmp_path)
        assert done.returncode == 2, done.stderr
        assert "the file cannot be opened (Permission denied)" in done.stderr
        assert "Traceback" not in done.stderr

    def test_one_file_under_two_names(self, tmp_path):
        path = place(tmp_path, "t.csv", GOOD)
        (tmp_path / "other.csv").symlink_to(path)
        with pytest.raises(ConfigError, match=r"other.csv is named twice, also as .*t.csv"):
            expand_files(["t.csv", "other.csv"], tmp_path)
        with pytest.raises(ConfigError, match="named twice"):
            expand_files(["t.csv", "./t.csv"], tmp_path)
        with pytest.raises(ConfigError, match="named twice"):
            expand_files(["t.csv", "*.csv"], tmp_path)


def as_nobody(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run as a user whom permissions hold for; root is not one."""
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not there, and permissions do not hold for root")
        # Without its capabilities root is a user like others.
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        text=True,
        capture_output=True,
        timeout=3600,
        check=False,
    )


class TestOutputs:
    """Places that cannot be written."""

    def test_read_only_folder(self, tmp_path):
        path = place(tmp_path, "t.csv", GOOD)
        results = tmp_path / "results"
        results.mkdir()
        results.chmod(stat.S_IRUSR | stat.S_IXUSR)
        code = (
            "from mixpipe.cli import main; "
            f"main(['fit', {str(path)!r}, '--value', 'x', '--max-components', '1', '--out', {str(results)!r}])"
        )
        done = as_nobody([sys.executable, "-c", code], tmp_path)
        assert done.returncode == 2
        assert "cannot write" in done.stderr
        assert "Permission denied" in done.stderr
        assert "Traceback" not in done.stderr
        assert list(results.iterdir()) == []

    def test_file_in_the_place_of_a_folder(self, tmp_path):
        path = place(tmp_path, "t.csv", GOOD)
        assert "cannot write" in fit(path, "--out", str(path))[2]
        assert path.read_text() == GOOD

    def test_full_disk_leaves_the_old_file(self, tmp_path):
        """A limit on the size of files is what a full disk looks like to the writer."""
        path = tmp_path / "table.csv"
        path.write_text("old")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(OutputError, match=r"cannot write table\.csv \(File too large\), in .*a disk with room"):
                write_file(path, lambda part: part.write_bytes(bytes(5000)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_full_file_system(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("no file system can be mounted here")
        try:
            path = place(tmp_path, "t.csv", GOOD)
            status, output, message = fit(path, "--out", str(disk / "out"))
            assert (status, output) == (2, "")
            assert "No space left on device" in message
            assert all(file.stat().st_size for file in (disk / "out").iterdir())
            assert not [file for file in (disk / "out").iterdir() if file.name.startswith(".")]
        finally:
            subprocess.run(["umount", str(disk)], check=True)


class TestRuns:
    """What a run looks at before its first job, and while its jobs run."""

    def run(self, folder: Path, **catalog: object) -> Run:
        place(folder, "t.csv", GOOD)
        columns = {"x": {"error": "e", "max_components": 1}}
        return Run(parse_config({"catalogs": {"c": {"releases": {"a": "t.csv"}, "columns": columns, **catalog}}}))

    def test_settings_for_another_format(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        run = self.run(tmp_path, hdu=3)
        (problem,) = find_problems(run.config)
        assert str(problem) == "hdu 3 for files in another format, in catalog c, expected a file in fits format"
        # Of two releases in two formats each has settings of its own.
        place(tmp_path, "t.fits", as_bytes("fits"))
        both = self.run(tmp_path, hdu=1, delimiter=",", releases={"a": "t.csv", "b": "t.fits"})
        assert find_problems(both.config) == []

    def test_names_that_snakemake_would_fill_in(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        place(tmp_path, "<b>.csv", GOOD)
        (problem,) = find_problems(self.run(tmp_path, releases={"a": "<b>.csv"}).config)
        assert str(problem).startswith("{ } or < > in the name of a file, in <b>.csv (catalog c, release a)")
        catalogs = {"c": {"releases": {"a": "t.csv"}, "columns": {"x": {}}}}
        for results in ("{x}", "<x>", "a\0b"):
            with pytest.raises(ConfigError, match="a folder, without"):
                parse_config({"results": results, "catalogs": catalogs})

    def test_catalog_that_is_listed_twice(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (problem,) = find_problems(self.run(tmp_path, releases={"a": ["t.csv", "*.csv"]}).config)
        assert "t.csv is named twice" in str(problem)
        path = tmp_path / "mine.yaml"
        path.write_text("catalogs:\n  c: {}\n  c: {}\n")
        assert "key 'c' is given twice, in" in check(path)[1]

    def test_file_that_changes_while_it_is_read(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        run = self.run(tmp_path)
        (part,) = run.ingested("c", "a", "x")
        plan = run.ingest("c", "a", Path(part).stem)
        reading = read_catalog

        def slow(*arguments, **options):
            yield reading(arguments[0], arguments[1])
            place(tmp_path, "t.csv", GOOD + "1,1\n")

        monkeypatch.setattr("mixpipe.pipeline.ingest.read_blocks", slow)
        with pytest.raises(CatalogError, match=r"the file changed while it was read, in t\.csv"):
            ingest_release(plan, part)
        assert not Path(part).exists()

    def test_file_that_changes_while_it_is_fitted(self, tmp_path, monkeypatch):
        path = place(tmp_path, "t.csv", GOOD)
        from mixpipe.cli import fitting

        def slow(*arguments, **options):
            place(tmp_path, "t.csv", GOOD + "1,1\n")

        monkeypatch.setattr(fitting, "fit_tables", slow)
        assert "the file changed while it was read" in fit(path)[2]

    def test_rows_of_the_same_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        rows = [f"star {i % 10},{value}\n" for i, value in enumerate(X)]
        place(tmp_path, "t.csv", "id,x\n" + "".join(rows) + ",5.0\n")
        catalog = {"releases": {"a": "t.csv"}, "key": "id", "columns": {"x": {}}}
        config = tmp_path / "mine.yaml"
        config.write_text(yaml.safe_dump({"catalogs": {"c": catalog}}))
        status, message, output = check(config)
        assert (status, message) == (0, "")
        assert "key 'id' is the same in several rows: 4 of 13 rows, the first is 'star 0'" in output
        assert "key 'id' is missing in 1 of 13 rows" in output

    @pytest.mark.parametrize("name", ["ingest", "starts", "a/b", "..", "a.b", "", "a b", "<b>", "x" * 81])
    def test_names_that_cannot_be_folders(self, name):
        with pytest.raises(ConfigError, match="cannot be the name of a folder"):
            parse_config({"catalogs": {"c": {"releases": {"a": "t.csv"}, "columns": {name: {"value": "x"}}}}})


def check(config: Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.main, ["check", str(config)], prog_name="mixpipe", env={"COLUMNS": "200"})
    return result.exit_code, result.stderr, result.stdout


def test_bomb_in_a_format_that_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("mixpipe.catalog.source._MOST_WHOLE", 1 << 22)
    path = place(tmp_path, "t.ecsv.gz", bomb(b"# %ECSV 1.0\n# ---\n", 8))
    with pytest.raises(CatalogError, match=r"more than 4,194,304 bytes, and ecsv is read as a whole"):
        read_catalog(path)


def test_memory_of_a_bomb_is_bounded(tmp_path):
    """Some 256 MiB in a line: half of it must not be held in memory."""
    path = place(tmp_path, "t.csv.gz", bomb(b"x,e\n", 256))
    code = (
        "import resource; from mixpipe.catalog import read_catalog\n"
        "try: read_catalog(__import__('sys').argv[1])\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], text=True, capture_output=True, check=True)
    kind, peak = done.stdout.split()
    assert kind == "CatalogError"
    idle = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "none")], text=True, capture_output=True, check=True
    )
    assert int(peak) < int(idle.stdout.split()[1]) + 128


def test_text_of_one_long_cell_and_many_rows_is_refused(tmp_path):
    rows = "a,1\n" * 20_000
    path = place(tmp_path, "t.csv", f"t,x\n{rows}{'z' * 10**5},1\n")
    with pytest.raises(CatalogError, match=r"a text of 100,000 characters in 20,001 rows"):
        read_catalog(path, ["t"])
    assert len(read_catalog(path, ["x"])) == 20_001
