"""Values, errors and weights from a table: each rule by hand, on rows made for it."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.catalog.columns import DROP_REASONS, ColumnData, combine_errors, prepare_column
from mixpipe.catalog.reading import read_catalog
from mixpipe.catalog.required import required_columns
from mixpipe.config.settings import ColumnSettings
from mixpipe.model.noise import HeavyTailed, TwoSided

NAN, INF = float("nan"), float("inf")


def prepare(columns: dict[str, Any], where: str | None = None, **settings: Any) -> ColumnData:
    return prepare_column(Table(columns), ColumnSettings("m", "x", **settings), where=where)


def counts(data: ColumnData) -> dict[str, int]:
    return {reason: count for reason, count in data.dropped.items() if count}


class TestDroppedRows:
    def test_each_reason_once(self) -> None:
        columns = {
            "x": [1, NAN, INF, 2, 3, 4, 5, 6, 7, 8, 0, -1, 9, 11],
            "e": [1, 1, 1, NAN, -1, INF, 1, 1, 1, 1, 1, 1, 0, 1],
            "w": [1, 1, 1, 1, 1, 1, NAN, -1, INF, 0, 1, 1, 2, 1],
            "c": [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        }
        truncated = (0.5, 10.0)
        data = prepare(columns, where="c == 1", error="e", weight="w", transform="ln", truncated=truncated)
        assert dict(data.dropped) == {
            "cut": 1,
            "missing_value": 1,
            "infinite_value": 1,
            "missing_error": 1,
            "bad_error": 2,
            "missing_weight": 1,
            "bad_weight": 2,
            "empty_bin": 0,
            "not_positive": 2,
            "missing_bound": 0,
            "outside": 1,
        }
        assert tuple(data.dropped) == DROP_REASONS
        assert data.rows.tolist() == [9, 12]
        assert data.n_read == 14
        assert len(data) + sum(data.dropped.values()) == data.n_read
        assert data.weights.tolist() == [0, 2]
        assert data.err.tolist() == [1 / 8, 0]

    def test_a_row_counts_under_the_first_reason(self) -> None:
        """Rows with all faults from the k-th on."""
        good = {"c": 1, "x": 1.0, "e": 1.0, "w": 1.0, "low": 0.5}
        faults = [
            ("c", 0),
            ("x", NAN),
            ("x", -INF),
            ("e", NAN),
            ("e", -1.0),
            ("w", NAN),
            ("w", -1.0),
            ("x", -1.0),
            ("low", NAN),
            ("x", 0.1),
        ]
        rows = []
        for first in range(len(faults)):
            row = dict(good)
            # A column can have one fault: the earliest of those left.
            for name, value in reversed(faults[first:]):
                row[name] = value
            rows.append(row)
        table = {name: [row[name] for row in rows] for name in good}
        truncated = ("low", 10.0)
        data = prepare(table, where="c == 1", error="e", weight="w", transform="log10", truncated=truncated)
        # Only a histogram has bins.
        assert data.dropped == {reason: int(reason != "empty_bin") for reason in DROP_REASONS}

    def test_all_reasons_are_there_without_any_fault(self) -> None:
        data = prepare({"x": [1.0, 2.0]})
        assert dict(data.dropped) == dict.fromkeys(DROP_REASONS, 0)
        assert data.err.tolist() == [0, 0]
        assert data.weights.tolist() == [1, 1]
        assert not data.has_errors
        assert data.unit is None

    def test_no_row_left(self) -> None:
        data = prepare({"x": [1.0, NAN]}, where="x > 1")
        assert data.x.shape == data.err.shape == data.weights.shape == data.rows.shape == (0,)
        assert data.rows.dtype == np.int64
        # An unknown condition is a cut.
        assert counts(data) == {"cut": 2}

    def test_nothing_to_fit(self) -> None:
        found = "no row of 3 can be used (dropped: 1 cut, 2 missing_value), in a.csv, expected at least one row"
        with pytest.raises(CatalogError, match=re.escape(found)):
            prepare({"x": [1.0, NAN, NAN], "c": [0, 1, 1]}, where="c == 1").check_usable("in a.csv")
        with pytest.raises(CatalogError, match=r"no row of 1 can be used \(dropped: none\)"):
            prepare({"x": [1.0], "w": [0.0]}, weight="w").check_usable("in a.csv")
        prepare({"x": [1.0, NAN]}).check_usable("in a.csv")

    def test_negative_values_without_a_transform(self) -> None:
        assert prepare({"x": [-1.0, 0.0]}).x.tolist() == [-1, 0]


class TestErrors:
    def test_zero_and_scale_and_floor(self) -> None:
        data = prepare({"x": [1.0, 2.0, 3.0], "e": [0.0, 3.0, -3.0]}, error="e", error_scale=2.0, error_floor=8.0)
        assert data.err.tolist() == [8.0, 10.0]
        assert counts(data) == {"bad_error": 1}

    def test_floor_alone(self) -> None:
        data = prepare({"x": [1.0]}, error_floor=0.5)
        assert data.err.tolist() == [0.5]
        assert data.has_errors

    @pytest.mark.parametrize("error", [0.25, 0])
    def test_a_number(self, error: float) -> None:
        data = prepare({"x": [1.0, 2.0]}, error=error)
        assert data.err.tolist() == [error, error]
        assert data.has_errors

    def test_variance(self) -> None:
        data = prepare({"x": [1.0] * 5, "e": [4.0, 0.0, -1.0, INF, NAN]}, error="e", error_kind="variance")
        assert data.err.tolist() == [2, 0]
        assert counts(data) == {"missing_error": 1, "bad_error": 2}

    def test_inverse_variance(self) -> None:
        data = prepare({"x": [1.0] * 5, "e": [4.0, 0.0, -1.0, INF, NAN]}, error="e", error_kind="ivar")
        assert data.err.tolist() == [0.5]
        assert counts(data) == {"missing_error": 1, "bad_error": 3}

    def test_a_number_as_variance(self) -> None:
        assert prepare({"x": [1.0]}, error=9.0, error_kind="variance").err.tolist() == [3]
        assert prepare({"x": [1.0]}, error=4.0, error_kind="ivar").err.tolist() == [0.5]


class TestPairs:
    def test_the_mean_of_the_two(self) -> None:
        assert combine_errors(np.array([0.3, 1.0]), np.array([0.1, 1.0])).tolist() == [0.2, 1.0]
        assert prepare({"x": [1.0], "u": [3.0], "l": [1.0]}, error=("u", "l")).err.tolist() == [2]

    @pytest.mark.parametrize(("up", "low"), [(1, 1), (1, -1), (-1, 1), (-1, -1)])
    def test_either_sign_in_either_column(self, up: int, low: int) -> None:
        upper, lower = np.array([3.0, 2.0, 0.0, 5.0]), np.array([1.0, 2.0, 4.0, 0.0])
        data = prepare({"x": np.ones(4), "u": up * upper, "l": low * lower}, error=("u", "l"))
        assert data.err.tolist() == [2.0, 2.0, 2.0, 2.5]

    def test_a_sign_against_the_convention(self) -> None:
        columns = {"x": [1.0] * 4, "u": [1.0, 1.0, 1.0, -1.0], "l": [-1.0, 1.0, -1.0, -1.0]}
        data = prepare(columns, error=("u", "l"))
        assert data.rows.tolist() == [0, 2]
        assert counts(data) == {"bad_error": 2}

    @pytest.mark.filterwarnings("error")
    def test_infinite_ones_of_both_signs_are_bad_and_not_missing(self) -> None:
        data = prepare({"x": [1.0] * 3, "u": [INF, 1.0, 1.0], "l": [INF, -1.0, -1.0]}, error=("u", "l"))
        assert counts(data) == {"bad_error": 1}
        ivar = prepare({"x": [1.0], "u": [0.0], "l": [-0.0]}, error=("u", "l"), error_kind="ivar")
        assert counts(ivar) == {"bad_error": 1}

    def test_both_sides_are_kept(self) -> None:
        columns = {"x": [1.0, 2.0], "u": [3.0, 4.0], "l": [-1.0, -2.0]}
        data = prepare(columns, error=("u", "l"), error_scale=0.5, error_floor=1.5)
        assert data.sides is not None
        np.testing.assert_allclose(data.sides, [np.hypot([0.5, 1.0], 1.5), np.hypot([1.5, 2.0], 1.5)], rtol=1e-15)
        np.testing.assert_allclose(data.err, data.sides.mean(axis=0), rtol=1e-15)
        noise = data.cells().noise
        assert isinstance(noise, TwoSided)
        np.testing.assert_array_equal([noise.lower, noise.upper], data.sides)
        symmetric = prepare(columns, error=("u", "l"), error_model="symmetric")
        assert (symmetric.sides, symmetric.err.tolist(), symmetric.cells().noise) == (None, [2.0, 3.0], None)

    def test_equal_sides_are_one_error(self) -> None:
        columns = {"x": [1.0, 2.0, 3.0], "u": [0.3, 0.4, 0.5], "l": [-0.3, -0.4, -9.0], "kind": [1, 1, 2]}
        data = prepare_column(Table(columns), ColumnSettings("x", "x", ("u", "l")), where="kind == 1")
        assert (data.sides, data.err.tolist()) == (None, [0.3, 0.4])

    def test_a_unit_that_runs_the_other_way_exchanges_the_sides(self) -> None:
        table = Table({"x": [20.0] * u.mag, "u": [0.3] * u.mag, "l": [0.1] * u.mag})
        data = prepare_column(table, ColumnSettings("x", "x", ("u", "l"), unit="dex"))
        assert data.sides is not None
        # A magnitude is -0.4 dex: what makes a star fainter makes it less bright.
        np.testing.assert_allclose(data.sides, [[0.12], [0.04]], rtol=1e-12)

    @pytest.mark.parametrize("transform", ["ln", "log10"])
    def test_a_logarithm_is_taken_of_both_ends(self, transform: str) -> None:
        table = {"x": [10.0, 10.0], "u": [5.0, 1.0], "l": [2.0, 12.0]}
        data = prepare(table, error=("u", "l"), transform=transform)
        assert data.sides is not None
        log = np.log if transform == "ln" else np.log10
        # An end that is not positive becomes a hundredth of the value.
        expected = [[-log(0.8), -log(0.01)], [log(1.5), log(1.1)]]
        np.testing.assert_allclose(data.sides, expected, rtol=1e-12)

    def test_a_limit_without_an_error_has_the_typical_one_on_both_sides(self) -> None:
        table = {"x": ["1.0", "2.0", "<3"], "u": [0.3, 0.5, NAN], "l": [0.1, 0.1, NAN]}
        data = prepare(table, error=("u", "l"))
        assert data.sides is not None
        np.testing.assert_allclose(data.sides, [[0.1, 0.1, 0.25], [0.3, 0.5, 0.25]], rtol=1e-12)

    def test_errors_of_students_t(self) -> None:
        cells = prepare({"x": [1.0, 2.0], "e": [0.3, 0.4]}, error="e", error_model="student_t", error_dof=4.0).cells()
        assert isinstance(cells.noise, HeavyTailed)
        assert (cells.noise.err.tolist(), cells.noise.dof) == ([0.3, 0.4], 4.0)

    def test_one_of_the_two_is_missing(self) -> None:
        columns = {"x": [1.0] * 4, "u": [NAN, 1.0, NAN, 1.0], "l": [1.0, NAN, -9.0, 1.0]}
        data = prepare(columns, error=("u", "l"))
        assert data.rows.tolist() == [3]
        # The third has a bad lower error too, but missing comes first.
        assert counts(data) == {"missing_error": 3}

    def test_variances(self) -> None:
        columns = {"x": [1.0] * 3, "u": [4.0, -4.0, 4.0], "l": [16.0, -4.0, -4.0]}
        data = prepare(columns, error=("u", "l"), error_kind="variance")
        assert data.err.tolist() == [3]
        assert counts(data) == {"bad_error": 2}


class TestUnits:
    def mas(self, values: list[float], unit: str | None) -> MaskedColumn:
        return MaskedColumn(values, unit=unit)

    @pytest.mark.parametrize(
        ("unit", "kind", "stored", "sigma"),
        [
            (None, "sigma", 2.0, 2000.0),
            ("mas", "sigma", 2.0, 2000.0),
            ("arcsec", "sigma", 2.0, 2e6),
            (None, "variance", 4.0, 2000.0),
            ("mas2", "variance", 4.0, 2000.0),
            ("arcsec2", "variance", 4.0, 2e6),
            (None, "ivar", 0.25, 2000.0),
            ("mas-2", "ivar", 0.25, 2000.0),
            ("arcsec-2", "ivar", 0.25, 2e6),
        ],
    )
    def test_value_in_mas_to_uas(self, unit: str | None, kind: str, stored: float, sigma: float) -> None:
        columns = {"x": self.mas([7.0], "mas"), "e": self.mas([stored], unit)}
        data = prepare(columns, error="e", error_kind=kind, unit="uas", error_floor=0.0)
        assert data.unit == "uas"
        np.testing.assert_allclose(data.x, [7000.0], rtol=1e-14)
        np.testing.assert_allclose(data.err, [sigma], rtol=1e-14)

    def test_numbers_are_in_the_stored_unit_and_floors_in_the_target(self) -> None:
        data = prepare({"x": self.mas([7.0], "mas")}, error=3e-3, error_floor=4.0, unit="uas")
        np.testing.assert_allclose(data.err, [5.0], rtol=1e-14)
        squared = prepare({"x": self.mas([7.0], "mas")}, error=9e-6, error_kind="variance", unit="uas")
        np.testing.assert_allclose(squared.err, [3.0], rtol=1e-14)

    def test_the_unit_of_the_file_is_kept(self) -> None:
        data = prepare({"x": self.mas([1.0], "km s-1"), "e": self.mas([1.0], "m/s")}, error="e")
        assert data.unit == "km / s"
        np.testing.assert_allclose(data.err, [1e-3], rtol=1e-14)

    def test_a_unit_where_the_file_has_none_is_a_label(self) -> None:
        for label in ("Msun", "mag(AB)"):
            data = prepare({"x": [1.5], "e": [0.5]}, error="e", unit=label)
            assert (data.x.tolist(), data.err.tolist(), data.unit) == ([1.5], [0.5], label)
        for columns in ({"x": [1.5]}, {"x": self.mas([1.5], "Msun")}):
            with pytest.raises(CatalogError, match="unknown unit 'Msnu'"):
                prepare(columns, unit="Msnu")

    def test_a_unit_that_astropy_does_not_know_can_stay(self) -> None:
        columns = {"x": self.mas([1.5], "apples"), "e": self.mas([4.0], None)}
        data = prepare(columns, error="e", error_kind="variance")
        assert (data.x.tolist(), data.err.tolist(), data.unit) == ([1.5], [2.0], "apples")

    @pytest.mark.parametrize(
        ("value", "error", "kind", "target", "column"),
        [
            ("mas", None, "sigma", "km/s", "x"),
            ("apples", None, "sigma", "Msun", "x"),
            ("deg_C", None, "sigma", "K", "x"),
            ("mas", "mas", "variance", None, "e"),
            ("mas", "mas2", "ivar", None, "e"),
            ("mas", "apples", "sigma", "mas", "e"),
            ("apples", "mas2", "variance", None, "e"),
            ("mag(AB)", None, "sigma", "Jy", "x"),
        ],
    )
    def test_units_that_do_not_fit(
        self, value: str, error: str | None, kind: str, target: str | None, column: str
    ) -> None:
        columns = {"x": self.mas([1.0], value), "e": self.mas([1.0], error)}
        with pytest.raises(CatalogError, match=f"column '{column}' has the unit"):
            prepare(columns, error="e", error_kind=kind, unit=target)

    def test_magnitudes(self) -> None:
        columns = {"x": self.mas([20.0], "mag(AB)"), "e": self.mas([10.0], "mmag")}
        data = prepare(columns, error="e")
        np.testing.assert_allclose(data.err, [0.01], rtol=1e-14)
        assert data.unit == "mag(AB)"

    @pytest.mark.parametrize("error_unit", ["mag", "dex", None])
    def test_errors_are_lengths_also_from_magnitudes_to_dex(self, error_unit: str | None) -> None:
        """A magnitude is -0.4 dex."""
        errors = [0.04, 0.08] if error_unit == "dex" else [0.1, 0.2]
        columns = {"x": self.mas([1.0, 5.0], "mag"), "e": self.mas(errors, error_unit)}
        data = prepare(columns, error="e", unit="dex")
        np.testing.assert_allclose(data.x, [-0.4, -2.0], rtol=1e-15)
        np.testing.assert_allclose(data.err, [0.04, 0.08], rtol=1e-15)
        pair = prepare(columns, error=("e", "e"), unit="dex")
        np.testing.assert_array_equal(pair.err, data.err)
        np.testing.assert_allclose(prepare(columns, error=0.1, unit="dex").err, [0.04, 0.04], rtol=1e-15)


class TestTransforms:
    def test_log10(self) -> None:
        data = prepare({"x": [100.0, 1000.0], "e": [10.0, 0.0]}, error="e", transform="log10", unit="Msun")
        np.testing.assert_allclose(data.x, [2.0, 3.0], rtol=1e-15)
        np.testing.assert_allclose(data.err, [0.1 / math.log(10.0), 0.0], rtol=1e-15)
        assert data.unit == "log10(Msun)"

    def test_ln_after_conversion_scale_and_floor(self) -> None:
        columns = {"x": MaskedColumn([2.0], unit="kpc"), "e": [0.015]}
        data = prepare(columns, error="e", error_scale=2.0, error_floor=40.0, transform="ln", unit="pc")
        np.testing.assert_allclose(data.x, [math.log(2000.0)], rtol=1e-15)
        np.testing.assert_allclose(data.err, [50.0 / 2000.0], rtol=1e-14)
        assert data.unit == "ln(pc)"

    def test_without_a_unit(self) -> None:
        assert prepare({"x": [2.0]}, transform="log10").unit == "log10()"
        assert prepare({"x": [2.0]}, transform="ln").unit == "ln()"
        assert prepare({"x": [2.0]}).unit is None

    def test_an_error_that_overflows(self) -> None:
        data = prepare({"x": [1e-310, 0.0], "e": [1.0, 1.0]}, error="e", transform="ln")
        assert counts(data) == {"bad_error": 1, "not_positive": 1}


class TestTypes:
    @pytest.mark.parametrize(
        "values",
        [
            np.array([1, 0, 1], dtype=np.int16),
            np.array([True, False, True]),
            np.array([1, 0, 1], dtype=np.float32),
            np.array([1, 0, 1], dtype=">f8"),
            np.array(["1", " 0.0 ", "1e0"]),
            np.array([b"1", b"0", b"+1"]),
            np.array(["1", "0", "1"], dtype=object),
        ],
    )
    def test_numbers_however_held(self, values: np.ndarray) -> None:
        data = prepare({"x": values, "w": values}, weight="w")
        assert data.x.dtype == data.weights.dtype == np.float64
        assert data.x.tolist() == data.weights.tolist() == [1.0, 0.0, 1.0]

    def test_masked_and_blank_cells_are_missing(self) -> None:
        columns = {"x": MaskedColumn([1, 2, 3], mask=[0, 1, 0]), "e": ["0.5", "1", " "]}
        data = prepare(columns, error="e")
        assert data.rows.tolist() == [0]
        assert counts(data) == {"missing_value": 1, "missing_error": 1}

    def test_text_that_is_no_number(self) -> None:
        table = Table({"x": ["1", "", "two", "3", "four"]})
        table.meta["files"] = [{"path": "a.csv", "n_rows": 1}, {"path": "b.csv", "n_rows": 4}]
        with pytest.raises(CatalogError) as caught:
            prepare_column(table, ColumnSettings("m", "x"), catalog="stars", release="2024")
        text = str(caught.value)
        assert "column 'x' has text in 2 of 5 rows, the first is 'two' in row 2 of b.csv" in text
        assert "in catalog stars, release 2024, a.csv and 1 more" in text

    def test_several_values_a_row(self) -> None:
        with pytest.raises(CatalogError, match="'x' holds several values a row"):
            prepare({"x": np.zeros((3, 2))})

    def test_a_column_that_is_not_there(self) -> None:
        with pytest.raises(CatalogError, match=r"no column 'err'.*'x_err'\?"):
            prepare({"x": [1.0], "x_err": [1.0]}, error="err")

    def test_a_bad_cut(self) -> None:
        with pytest.raises(ConfigError, match="no column 'y'"):
            prepare({"x": [1.0]}, where="y > 1")

    def test_a_cut_by_a_long_negative_integer(self) -> None:
        ids = np.array([-(2**53) - 1, -(2**53), 2**53 + 1])
        for where in (f"id == {ids[0]}", f"id in [{ids[0]}]"):
            assert prepare({"x": [1.0, 2.0, 3.0], "id": ids}, where=where).rows.tolist() == [0]


def test_cells_hold_the_same_rows() -> None:
    data = prepare({"x": [1.0, 2.0, NAN], "e": [0.1, 0.2, 0.3], "w": [1.0, 3.0, 5.0]}, error="e", weight="w")
    cells = data.cells()
    assert (cells.x.tolist(), cells.err.tolist(), cells.n_data) == ([1, 2], [0.1, 0.2], 4)


def test_the_result_cannot_be_changed() -> None:
    columns = {"x": np.array([1.0, 2.0])}
    data = prepare(columns)
    with pytest.raises(ValueError, match="read-only"):
        data.x[0] = 5.0
    with pytest.raises(TypeError):
        data.dropped["cut"] = 1  # type: ignore[index]
    assert columns["x"].tolist() == [1, 2]


def test_required_columns() -> None:
    mass = ColumnSettings("mass", "m", ("m_up", "m_lo"), weight="w")
    spin = ColumnSettings("spin", "p", "e_p")
    fixed = replace(spin, value="q", error=0.1)
    assert required_columns([mass, spin, fixed], "kind == 'NS' and m > 1", "name") == (
        "name",
        "kind",
        "m",
        "m_up",
        "m_lo",
        "w",
        "p",
        "e_p",
        "q",
    )
    assert required_columns([replace(spin, error=None)]) == ("p",)


class TestRealCatalogs:
    def test_the_pleiades(self, catalogs: Path) -> None:
        where = "Cluster == 'Melotte_22'"
        settings = ColumnSettings("Plx", "Plx", "e_Plx")
        path = catalogs / "open_clusters" / "gaia_edr3_members.fits"
        data = prepare_column(read_catalog(path, required_columns([settings], where)), settings, where=where)
        assert len(data) == 1217
        assert counts(data) == {"cut": 264_194 - 1217}
        assert data.unit == "mas"
        # The parallax of the Pleiades in Gaia EDR3, as the catalogs' README has it.
        assert abs(np.average(data.x, weights=1 / data.err**2) - 7.4) < 0.1

    def test_values_without_errors(self, catalogs: Path) -> None:
        settings = ColumnSettings("M_V", "M_V", ("M_V_ep", "M_V_em"))
        table = read_catalog(catalogs / "local_volume" / "dwarf_all_v1.0.5.csv", required_columns([settings]))
        data = prepare_column(table, settings)
        # 876 of 889 have a value; 354 of these have no error, one has half of one.
        assert counts(data) == {"missing_value": 13, "missing_error": 355}
        assert len(data) == 521
