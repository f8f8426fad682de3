"""Hashes of catalog files, which are remembered."""

import hashlib
import json
import os

import pytest

from mixpipe.base.errors import CatalogError
from mixpipe.base.files import sha256
from mixpipe.catalog import hashes
from mixpipe.catalog.hashes import FileHashes, catalog_hash


@pytest.fixture
def later(monkeypatch):
    """Ten seconds pass, so that files of now are old enough to be remembered."""
    now = hashes.time.time_ns
    monkeypatch.setattr(hashes.time, "time_ns", lambda: now() + 10**10)


@pytest.fixture
def hashed(monkeypatch):
    """Paths of the files that were read to hash them."""
    paths = []

    def spy(path):
        paths.append(path)
        return sha256(path)

    monkeypatch.setattr(hashes, "sha256", spy)
    return paths


def test_sha256_of_a_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(path) == expected == FileHashes(tmp_path / "results")(path)


def test_unchanged_files_are_read_once(tmp_path, later, hashed):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    assert FileHashes(tmp_path / "results")(path) == FileHashes(tmp_path / "results")(path)
    assert hashed == [path]


def test_changes_that_dates_and_sizes_hide_are_seen(tmp_path, later):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    before = path.stat()
    first = FileHashes(tmp_path / "results")(path)
    with path.open("r+") as stream:
        stream.write("x\n2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert FileHashes(tmp_path / "results")(path) == hashlib.sha256(b"x\n2\n").hexdigest() != first


def test_a_readme_that_describes_the_columns_is_part_of_the_catalog(tmp_path, later):
    rule = "-" * 60 + "\n"
    text = f"Byte-by-byte Description of file: t.dat\n{rule}   Bytes Format Units Label Explanations\n{rule}"
    text += f"   1- 4 F4.1   km/s  v     Velocity\n{rule}"
    path, readme = tmp_path / "t.dat", tmp_path / "ReadMe"
    path.write_text(" 1.5\n")
    (tmp_path / "other.csv").write_text("x\n1\n")
    known = FileHashes(tmp_path / "results")
    plain = [known(path), known(tmp_path / "other.csv")]
    readme.write_text(text)
    in_km = [known(path), known(tmp_path / "other.csv")]
    readme.write_text("Something else\n\n" + text)
    assert known(path) == in_km[0] == catalog_hash(path)
    readme.write_text(text.replace("km/s", "m/s "))
    in_m = [known(path), known(tmp_path / "other.csv")]
    assert len({plain[0], in_km[0], in_m[0]}) == 3
    assert plain[1] == in_km[1] == in_m[1]
    assert plain[0] == sha256(path)


def test_files_written_a_moment_ago_are_not_trusted(tmp_path, hashed):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    known = FileHashes(tmp_path / "results")
    known(path), known(path)
    assert hashed == [path, path]


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_broken_memory_is_forgotten(tmp_path, later, content):
    path = tmp_path / "a.csv"
    path.write_text("x\n")
    memory = tmp_path / "results" / ".mixpipe" / "hashes.json"
    memory.parent.mkdir(parents=True)
    memory.write_text(content)
    assert FileHashes(tmp_path / "results")(path) == sha256(path)
    assert len(json.loads(memory.read_text())) == 1
    assert os.listdir(memory.parent) == ["hashes.json"]


def test_missing_file(tmp_path):
    with pytest.raises(CatalogError, match=r"No such file.*none\.csv"):
        FileHashes(tmp_path)(tmp_path / "none.csv")
