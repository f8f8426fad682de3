"""Tables as values of several columns with covariances: units, gaps, correlations, and what is dropped."""

import numpy as np
import pytest
from astropy.table import Table

from mixpipe.base.errors import CatalogError
from mixpipe.catalog.joint import prepare_joint
from mixpipe.catalog.required import required_columns
from mixpipe.catalog.store import read_columns, write_blocks
from mixpipe.config.settings import parse_config


def entry(columns=None, **joint):
    catalog = {"releases": {"1": "a.csv"}, "joint": {"both": {"columns": ["u", "v"], **joint}}}
    if columns:
        catalog["columns"] = columns
    return parse_config({"catalogs": {"stars": catalog}}).catalogs[0].joints[0]


def table(**columns):
    base = {"u": [1.0, 2.0, 3.0, 4.0], "v": [5.0, 6.0, 7.0, 8.0], "e_u": [0.1] * 4, "e_v": [0.2] * 4}
    return Table({**base, **columns})


ERRORS = {"u": "e_u", "v": "e_v"}


def test_errors_and_correlations_become_covariances():
    data = prepare_joint(table(c=[0.5, -0.5, 0.0, 1.0]), entry(error=ERRORS, correlation=[["v", "u", "c"]]))
    assert np.array_equal(data.x, [[1, 5], [2, 6], [3, 7], [4, 8]])
    assert np.allclose(data.cov[:, 0, 0], 0.01)
    assert np.allclose(data.cov[:, 1, 1], 0.04)
    assert np.allclose(data.cov[:, 0, 1], [0.01, -0.01, 0.0, 0.02])
    assert np.array_equal(data.cov[:, 0, 1], data.cov[:, 1, 0])


def test_units_and_transforms_reach_the_covariances():
    rows = table()
    rows["u"].unit = "km"
    columns = {"u": {"error": "e_u", "unit": "m"}, "v": {"error": "e_v", "transform": "ln"}}
    data = prepare_joint(rows, entry(columns, correlation=[["u", "v", 0.5]]))
    assert np.allclose(data.x[:, 0], [1000, 2000, 3000, 4000])
    assert np.allclose(data.x[:, 1], np.log([5, 6, 7, 8]))
    assert np.allclose(data.cov[:, 0, 1], 0.5 * 100.0 * 0.2 / np.array([5, 6, 7, 8]))
    assert data.account.units == ("m", "ln()")


def test_gaps_are_used_or_dropped_and_counted():
    rows = table(v=[np.nan, 6.0, np.nan, 8.0], u=[1.0, np.nan, np.nan, 4.0])
    used = prepare_joint(rows, entry(error=ERRORS))
    assert used.account.patterns == {("u",): 1, ("v",): 1, ("u", "v"): 1}
    assert {reason: n for reason, n in used.account.dropped.items() if n} == {"no_value": 1}
    assert used.rows.tolist() == [0, 1, 3]
    whole = prepare_joint(rows, entry(error=ERRORS, missing="drop"))
    assert whole.rows.tolist() == [3]
    assert {reason: n for reason, n in whole.account.dropped.items() if n} == {"no_value": 1, "missing_value": 2}


def test_what_cannot_be_used_of_a_column_counts_as_missing():
    rows = table(e_v=[0.2, -1.0, 0.2, np.inf])
    data = prepare_joint(rows, entry(error=ERRORS))
    assert np.isnan(data.x[[1, 3], 1]).all()
    assert data.account.unusable["v"] == {"bad_error": 2}
    assert any(text.startswith("v: values that cannot be used count as missing") for text in data.account.doubts())


def test_bad_correlations_drop_their_rows():
    rows = table(c=[0.5, 1.5, np.nan, 0.0])
    data = prepare_joint(rows, entry(error=ERRORS, correlation=[["u", "v", "c"]]))
    assert data.rows.tolist() == [0, 3]
    assert (data.account.dropped["bad_correlation"], data.account.dropped["missing_correlation"]) == (1, 1)
    assert data.account.first["bad_correlation"] == "row 2"
    assert "1 row with a correlation outside [-1, 1]: left out, the first is row 2" in list(data.account.doubts())


def test_correlations_that_make_no_covariance_together_are_dropped():
    rows = table(w=[1.0, 2.0, 3.0, 4.0], c=[-0.9, 0.9, 0.9, 0.9])
    joint = {"columns": ["u", "v", "w"], "error": {**ERRORS, "w": 0.1}}
    joint["correlation"] = [["u", "v", "c"], ["v", "w", 0.9], ["u", "w", 0.9]]
    catalog = {"releases": {"1": "a.csv"}, "joint": {"all": joint}}
    data = prepare_joint(rows, parse_config({"catalogs": {"stars": catalog}}).catalogs[0].joints[0])
    # The determinant of correlations -.9, .9, .9 is negative, and that of three of .9 is not.
    assert data.account.dropped["bad_covariance"] == 1
    assert data.rows.tolist() == [1, 2, 3]


def test_a_cut_comes_first_and_weights_count():
    rows = table(w=[1.0, 2.0, -1.0, np.nan], v=[5.0, np.nan, 7.0, 8.0])
    data = prepare_joint(rows, entry(error=ERRORS, weight="w"), where="u > 1")
    assert {reason: n for reason, n in data.account.dropped.items() if n} == {
        "cut": 1,
        "bad_weight": 1,
        "missing_weight": 1,
    }
    assert data.weights.tolist() == [2.0]
    assert data.account.weighted


def test_rows_of_weight_zero_are_dropped_and_counted():
    data = prepare_joint(table(w=[2.0, 0.0, 1.0, 0.0]), entry(error=ERRORS, weight="w"))
    assert {reason: n for reason, n in data.account.dropped.items() if n} == {"zero_weight": 2}
    assert data.rows.tolist() == [0, 2]
    assert data.account.patterns == {("u", "v"): 2}
    with pytest.raises(CatalogError) as caught:
        prepare_joint(table(w=[0.0] * 4), entry(error=ERRORS, weight="w")).account.check_usable("in a test")
    assert caught.value.what == "no row of 4 can be used (dropped: 4 zero_weight)"
    assert caught.value.expected == "at least one row of positive weight"


def test_combinations_propagate_errors_and_gaps():
    rows = table(v=[5.0, 6.0, np.nan, 8.0])
    settings = entry(error=ERRORS, correlation=[["u", "v", 0.5]], linear={"sum": {"u": 1, "v": 1}, "twice": {"u": 2}})
    data = prepare_joint(rows, settings)
    assert data.names == ("sum", "twice")
    assert np.array_equal(data.x[[0, 1, 3]], [[6, 2], [8, 4], [12, 8]])
    assert np.isnan(data.x[2, 0])
    assert data.x[2, 1] == 6.0
    # By hand: var(u + v) = .01 + .04 + 2 * .5 * .1 * .2, cov(u + v, 2u) = 2 * (.01 + .01).
    assert np.allclose(data.cov[0], [[0.07, 0.04], [0.04, 0.04]])
    assert np.allclose(data.cov[2], [[0.0, 0.0], [0.0, 0.04]])


@pytest.mark.parametrize("packed", [True, False])
def test_covariances_in_one_column_of_arrays(tmp_path, packed):
    matrices = np.array([[[0.01 * k, 0.005], [0.005, 0.04]] for k in range(1, 5)])
    lower = np.stack([matrices[:, 0, 0], matrices[:, 1, 0], matrices[:, 1, 1]], axis=1)
    settings = entry(covariance="cov")
    rows = table(cov=lower if packed else matrices)
    assert required_columns([settings]) == ("u", "v", "cov")
    assert np.allclose(prepare_joint(rows, settings).cov, matrices)
    # And through the file that a release is read into.
    rows.meta["files"] = [{"path": "a.fits", "n_rows": 4}]
    write_blocks([rows], tmp_path / "rows.parquet", arrays=["cov"])
    assert np.allclose(prepare_joint(read_columns(tmp_path / "rows.parquet"), settings).cov, matrices)


def test_covariances_in_columns_and_their_units():
    rows = table(a=[0.01] * 4, b=[0.005] * 4, c=[0.04] * 4)
    rows["u"].unit = "km"
    settings = entry(columns={"u": {"unit": "m"}}, covariance=["a", "b", "c"])
    assert np.allclose(prepare_joint(rows, settings).cov, [[1e4, 5.0], [5.0, 0.04]])


def test_arrays_of_another_length_are_refused():
    with pytest.raises(CatalogError, match=r"column 'cov' holds arrays of 5 numbers, .*2 x 2 covariances, or the 3"):
        prepare_joint(table(cov=np.zeros((4, 5))), entry(covariance="cov"))


def test_a_column_without_any_value_is_refused():
    data = prepare_joint(table(v=[np.nan] * 4), entry(error=ERRORS))
    with pytest.raises(CatalogError, match=r"column 'v' has no value that can be used \(4 missing_value\)"):
        data.account.check_usable("in a.csv")


def test_combinations_with_values_are_usable_whatever_their_names():
    linear = {"sum": {"u": 1, "v": 1}, "twice": {"u": 2}}
    prepare_joint(table(), entry(error=ERRORS, linear=linear)).account.check_usable("in a.csv")
    data = prepare_joint(table(v=[np.nan] * 4), entry(error=ERRORS, linear=linear))
    with pytest.raises(CatalogError, match=r"combination 'sum' has no value that can be used, in a\.csv"):
        data.account.check_usable("in a.csv")


def test_a_floor_of_zero_needs_errors():
    columns = {"u": {"error": "e_u"}, "v": {"error": "e_v", "sigma_floor": 0}}
    settings = entry(columns)
    prepare_joint(table(e_u=[0.0] * 4), settings).check_floors("in a.csv")
    # Without a value, an error of zero does no harm.
    rows = table(v=[np.nan, 6.0, 7.0, 8.0], e_v=[0.0, 0.2, 0.0, 0.2])
    with pytest.raises(CatalogError, match=r"sigma_floor 0 for 'v' with an error of zero in row 3, in a\.csv"):
        prepare_joint(rows, settings).check_floors("in a.csv")


def test_accounts_of_blocks_add_up():
    rows = table(v=[5.0, np.nan, 7.0, 8.0], c=[0.5, 0.0, 1.5, 0.0])
    settings = entry(error=ERRORS, correlation=[["u", "v", "c"]])
    whole = prepare_joint(rows, settings).account
    parts = prepare_joint(rows[:2], settings).account + prepare_joint(rows[2:], settings).account
    assert (parts.n_read, parts.n_used, parts.dropped, parts.patterns) == (
        whole.n_read,
        whole.n_used,
        whole.dropped,
        whole.patterns,
    )
    assert parts.unusable == whole.unusable
