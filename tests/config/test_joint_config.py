"""The `joint` section of a catalog: what it means, and how its mistakes are told."""

import pytest
import yaml

from mixpipe.base.errors import ConfigError
from mixpipe.config.gaia import gaia_correlation
from mixpipe.config.settings import parse_config

CATALOG = """
releases: {edr3: gaia.fits}
columns: {parallax: {value: Plx, error: e_Plx, sigma_floor: 0.01}}
joint:
  astrometry:
    columns: [parallax, pmRA, pmDE]
    error: {pmRA: e_pmRA, pmDE: [up, lo]}
    correlation: [[pmRA, pmDE, pmRApmDEcor], [pmRA, parallax, -0.25]]
"""


def joint_of(text: str = CATALOG, **changes):
    catalog = yaml.safe_load(text)
    catalog["joint"]["astrometry"].update(changes)
    return parse_config({"catalogs": {"gaia": catalog}}).catalogs[0].joints[0]


def test_columns_are_entries_or_columns_of_the_file():
    joint = joint_of()
    assert joint.names == ("parallax", "pmRA", "pmDE")
    assert [column.value for column in joint.columns] == ["Plx", "pmRA", "pmDE"]
    assert [column.error for column in joint.columns] == ["e_Plx", "e_pmRA", ("up", "lo")]
    assert [column.sigma_floor for column in joint.columns] == [0.01, None, None]
    assert joint.correlation == (("pmRA", "pmDE", "pmRApmDEcor"), ("pmRA", "parallax", -0.25))
    assert (joint.missing, joint.structure, joint.max_components) == ("use", "full", 10)


def test_names_of_gaia_are_known():
    # The data model of Gaia's archive (gaia_source), and the catalogs I/350 and I/355 of VizieR.
    assert gaia_correlation("ra", "dec") == gaia_correlation("dec", "ra") == "ra_dec_corr"
    assert gaia_correlation("pmdec", "parallax") == "parallax_pmdec_corr"
    assert gaia_correlation("RA_ICRS", "pmDE") == "RApmDEcor"
    assert gaia_correlation("pmra", "pmra") is None
    assert joint_of(correlation="gaia").correlation == (
        ("parallax", "pmRA", "PlxpmRAcor"),
        ("parallax", "pmDE", "PlxpmDEcor"),
        ("pmRA", "pmDE", "pmRApmDEcor"),
    )


def test_combinations_take_the_place_of_the_columns():
    text = CATALOG.replace(", sigma_floor: 0.01", "")
    joint = joint_of(text, linear={"total": {"pmRA": 1, "pmDE": 1}, "rest": {"parallax": 2}})
    assert joint.names == ("total", "rest")
    assert joint.linear == (("total", (0.0, 1.0, 1.0)), ("rest", (2.0, 0.0, 0.0)))


@pytest.mark.parametrize(
    ("linear", "expected"),
    [
        ({"pmRA": {"pmRA": 1, "pmDE": 1}, "d": {"pmRA": 1, "pmDE": -1}}, r"another name, or \{pmRA: 1\}"),
        ({"pmDE": {"pmDE": 2}, "d": {"pmRA": 1}}, r"another name, or \{pmDE: 1\}"),
        # A column of the catalog that the joint fit does not have, of values or of densities.
        ({"mag": {"pmRA": 1, "pmDE": 1}, "d": {"pmRA": 1}}, "another name$"),
        ({"pdf": {"pmRA": 1, "pmDE": 1}, "d": {"pmRA": 1}}, "another name$"),
    ],
)
def test_a_combination_with_the_name_of_a_column_is_that_column(linear, expected):
    catalog = yaml.safe_load(CATALOG.replace(", sigma_floor: 0.01", ""))
    catalog["columns"] |= {"mag": {}, "pdf": {"kind": "densities", "grid": [0, 1, 11]}}
    name = next(iter(linear))
    message = f"combination '{name}' has the name of a column and is not that column, .*astrometry.*expected "
    with pytest.raises(ConfigError, match=message + expected):
        joint_of(yaml.safe_dump(catalog), linear=linear)
    own = {name: {"pmRA": 1} if name == "pmRA" else {"pmDE": 1} for name in ("pmRA", "other")}
    assert joint_of(yaml.safe_dump(catalog), linear=own).names == ("pmRA", "other")


def test_a_catalog_may_have_joint_fits_alone():
    catalog = yaml.safe_load(CATALOG)
    del catalog["columns"]
    catalog["joint"]["astrometry"] = {"columns": ["u", "v"]}
    (found,) = parse_config({"catalogs": {"stars": catalog}}).catalogs
    assert found.columns == ()
    assert found.joints[0].names == ("u", "v")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ["pmRA"]}, r"found \[pmRA\], .*joint.astrometry.columns.*two or more different columns"),
        ({"columns": ["pmRA", "pmRA"]}, "two or more different columns"),
        ({"error": {"pmX": "e"}}, "an error of 'pmX', .*expected one of parallax, pmRA, pmDE"),
        ({"error": {"parallax": "e"}}, "'parallax' is an entry of `columns`"),
        ({"correlation": [["pmRA", "pmX", "c"]]}, "a correlation of 'pmX', .*one of parallax, pmRA, pmDE"),
        ({"correlation": [["pmRA", "pmRA", "c"]]}, "each pair of different columns at most once"),
        ({"correlation": [["pmRA", "pmDE", 0], ["pmDE", "pmRA", "c"]]}, "given twice"),
        ({"correlation": [["pmRA", "pmDE", 1.5]]}, r"found 1\.5, .*correlation\.0\.2"),
        ({"correlation": [["pmRA", "pmDE"]]}, r"\[A, B, column or number from -1 to 1\]"),
        ({"correlation": "archive"}, "found archive, .*or gaia"),
        ({"covariance": ["a", "b", "c"]}, "errors beside `covariance`"),
        ({"structure": "round"}, "full, diagonal, spherical or equal"),
        ({"colums": []}, r"unknown key 'colums', .*did you mean 'columns'\?"),
        ({"predict": {"given": ["pmRA"], "of": ["pmX"]}}, "'pmX' is not fitted"),
        ({"predict": {"given": ["pmRA"], "of": ["pmRA"]}}, "'pmRA' is given and predicted"),
        ({"linear": {"a": {"pmRA": 1}, "b": {"pmX": 1}}}, "'b' is of 'pmX'"),
        ({"linear": {"a": {"pmRA": 1}, "b": {"pmDE": 1}}}, "'parallax' has a sigma_floor"),
    ],
)
def test_mistakes_are_told_in_one_line(changes, message):
    with pytest.raises(ConfigError, match=message):
        joint_of(**changes)


def test_what_a_joint_fit_cannot_respect_is_refused():
    text = CATALOG.replace("error: e_Plx", "error: e_Plx, truncated: [0, null]")
    with pytest.raises(ConfigError, match="column 'parallax' has truncated, which a joint fit does not respect"):
        joint_of(text)
    text = CATALOG.replace("error: e_Plx", "error: e_Plx, rounding: 0.1")
    with pytest.raises(ConfigError, match="column 'parallax' has rounding, which a joint fit does not respect"):
        joint_of(text)
    assert joint_of(text.replace("rounding: 0.1", "rounding: none")).columns[0].rounding == "none"


@pytest.mark.parametrize(
    ("names", "twice"),
    [
        (["ra", "ra_dec", "dec_pm", "pm"], "corr_ra_dec_pm"),
        (["v", "v_unc"], "mean_v_unc"),
        (["a", "b", "corr_a_b"], "err_corr_a_b"),
    ],
)
def test_no_two_columns_of_the_results_have_one_name(names, twice):
    with pytest.raises(ConfigError, match=f"names that lead to two columns '{twice}'"):
        joint_of(columns=names, error={}, correlation=[])


def test_a_name_stands_for_one_fit():
    catalog = yaml.safe_load(CATALOG)
    catalog["joint"]["parallax"] = catalog["joint"].pop("astrometry")
    with pytest.raises(ConfigError, match="'parallax' is an entry of `columns`, too"):
        parse_config({"catalogs": {"gaia": catalog}})


def test_covariances_are_as_many_as_the_triangle_has():
    columns = {"columns": ["u", "v"], "error": {}, "correlation": []}
    assert joint_of(**columns, covariance=["c11", "c21", "c22"]).covariance == ("c11", "c21", "c22")
    assert joint_of(**columns, covariance="cov").covariance == ("cov",)
    with pytest.raises(ConfigError, match=r"4 columns of covariances, .*3 for 2 columns"):
        joint_of(**columns, covariance=["a", "b", "c", "d"])
