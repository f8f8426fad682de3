"""Value and error columns by their names: each habit of the field, and what looks like one and is none."""

import numpy as np
import pytest

from mixpipe.catalog.recognition import find_measurements, is_coordinate, is_identifier, unit_in
from mixpipe.catalog.sentinels import find_sentinels
from mixpipe.cli.init.sentinels import common_sentinels, forget_sentinels

RNG = np.random.default_rng(7)
X = RNG.normal(50.0, 10.0, 200)
ERR = RNG.uniform(0.5, 2.0, 200)


def errors(**columns):
    """The error of each value, with the kind of error where it is no sigma."""
    found, _ = find_measurements(columns)
    return {
        entry.value: entry.error if entry.kind == "sigma" or entry.error is None else (entry.error, entry.kind)
        for entry in found
    }


# The names are those of published catalogs or of the conventions named.
@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("parallax", "parallax_error"),  # Gaia
        ("phot_g_mean_flux", "phot_g_mean_flux_error"),
        ("Plx", "e_Plx"),  # VizieR
        ("Plx", "E_Plx"),
        ("MASS", "E_MASS"),
        ("mass", "e_Mass"),
        ("[Fe/H]", "e_[Fe/H]"),
        ("B-V", "e_B-V"),
        ("mass", "er_mass"),
        ("TEFF", "TEFF_ERR"),  # APOGEE
        ("rv", "rv_err"),
        ("rv", "err_rv"),
        ("z", "zErr"),  # SDSS
        ("psfMag_g", "psfMagErr_g"),
        ("MAG_AUTO", "MAGERR_AUTO"),  # SExtractor
        ("FLUX_AUTO_G", "FLUXERR_AUTO_G"),
        ("mag_g_lsst", "mag_err_g_lsst"),
        ("gPSFMag", "gPSFMagErr"),  # Pan-STARRS
        ("w1mpro", "w1sigmpro"),  # WISE
        ("j_m", "j_msigcom"),  # 2MASS
        ("HRV", "eHRV"),  # RAVE
        ("teff", "sigma_teff"),
        ("teff", "teff_sigma"),
        ("feh", "feh_unc"),
        ("feh", "unc_feh"),
        ("feh", "feh_uncertainty"),
        ("dist", "dist_std"),
        ("mass [Msun]", "mass_err [Msun]"),
        ("mass (Msun)", "mass_err (Msun)"),
        ("mass", "mass err"),
        ("mass", "mass.err"),
        ("x", "sig_x"),
        ("X", "SigX"),
        ("MU_SH0ES", "MU_SH0ES_ERR_DIAG"),  # Pantheon+
        ("MU", "MUERR_FINAL"),  # DES
        ("VHELIO_AVG", "VERR"),  # APOGEE
        ("aveVel", "vel-err"),
        ("x", "dx"),
        ("x", "d_x"),
        ("x", "x_e"),
        ("x", "e"),
        ("x", "err"),
        ("velocity", "error"),
        ("plx_value", "plx_err"),  # SIMBAD
        ("flux_Jy", "flux_err_mJy"),
        ("flux_mJy", "flux_err"),
        ("dist_pc", "e_dist"),
        ("S1.4_mJy", "S1.4_err_uJy"),
        ("F_24um", "e_F_24um"),
    ],
)
def test_one_error_column(value, error):
    assert errors(**{value: X, error: ERR}) == {value: error}
    assert errors(**{error: ERR, value: X}) == {value: error}


@pytest.mark.parametrize(
    ("value", "upper", "lower"),
    [
        ("pl_orbper", "pl_orbpererr1", "pl_orbpererr2"),  # NASA Exoplanet Archive
        ("koi_period", "koi_period_err1", "koi_period_err2"),
        ("mass", "mass_error_max", "mass_error_min"),  # exoplanet.eu
        ("rhalf", "rhalf_ep", "rhalf_em"),  # Local Volume Database
        ("mass", "mass_err_up", "mass_err_lo"),
        ("mass", "mass_err_upper", "mass_err_lower"),
        ("mass", "mass_upper_err", "mass_lower_err"),
        ("mass", "mass_uerr", "mass_lerr"),
        ("mass", "mass_err_p", "mass_err_m"),
        ("mass", "mass_err_plus", "mass_err_minus"),
        ("mass", "mass_err_pos", "mass_err_neg"),
        ("mass", "err_up_mass", "err_lo_mass"),
        ("mass", "massErrUp", "massErrLow"),
        ("x", "xerr_up", "xerr_lo"),
        ("x", "+x_err", "-x_err"),
        ("x", "x_err+", "x_err-"),
        ("x", "+e_x", "-e_x"),
        ("mass", "e_mass_up", "e_mass_lo"),
        ("mass", "ep_mass", "em_mass"),
        ("Teff", "E_Teff", "e_Teff"),  # VizieR
        ("age", "age_hi", "age_lo"),
        ("age", "age_upper", "age_lower"),
        ("age", "age+", "age-"),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_upper_and_lower_error(value, upper, lower, sign):
    columns = {value: X, lower: sign * 0.5 * ERR, upper: ERR}
    assert errors(**columns) == {value: (upper, lower)}


@pytest.mark.parametrize(
    ("value", "error", "kind"),
    [
        ("flux", "ivar_flux", "ivar"),
        ("flux", "flux_ivar", "ivar"),
        ("FLUX_G", "FLUX_IVAR_G", "ivar"),  # DESI Legacy Surveys
        ("flux", "flux_invvar", "ivar"),
        ("flux", "var_flux", "variance"),
        ("flux", "flux_var", "variance"),
        ("flux", "flux_variance", "variance"),
    ],
)
def test_variances(value, error, kind):
    assert errors(**{value: X, error: ERR}) == {value: (error, kind)}


def test_errors_by_band():
    bands = {f"{name}_{band}": X if name == "flux" else ERR for band in "grz" for name in ("flux", "ivar")}
    known = {f"flux_{band}": (f"ivar_{band}", "ivar") for band in "grz"}
    assert errors(**bands) == known
    # A redshift called as a band is, with an error of its own.
    assert errors(z=X, zErr=ERR, **bands) == {"z": "zErr", **known}
    # Of which of two quantities is not known, and one band alone says nothing.
    assert not any(errors(mag_g=X, flux_g=X, err_g=ERR, mag_r=X, flux_r=X, err_r=ERR).values())
    assert not any(errors(flux_g=X, err_g=ERR).values())
    velocities = {"v_x": X, "v_y": X}
    known = {"x": "sigma_x", "y": "sigma_y", **dict.fromkeys(velocities)}
    assert errors(x=X, y=X, **velocities, sigma_x=ERR, sigma_y=ERR) == known


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("x_min", "x_max"),
        ("x_lo", "x_hi"),
        ("x_lower", "x_upper"),  # Gaia's astrophysical parameters
        ("b_x", "B_x"),  # VizieR
        ("x_16", "x_84"),
    ],
)
def test_bounds_are_no_errors(lower, upper):
    found, others = find_measurements({"x": X, lower: X - ERR, upper: X + ERR})
    assert [(entry.value, entry.error) for entry in found] == [("x", None)]
    assert others == {lower: "lower bound of x", upper: "upper bound of x"}


@pytest.mark.parametrize(
    ("value", "name", "numbers"),
    [
        ("parallax", "parallax_over_error", X / ERR),  # Gaia
        ("astrometric_excess_noise", "astrometric_excess_noise_sig", ERR),  # Gaia: a significance
        ("B-V", "E_B-V", ERR),  # colour excess
        ("x", "x_err", X - 50.0),  # of either sign
        ("x", "x_err", 0.0 * ERR),
        ("m", "dm", ERR + 100.0),  # a distance modulus
        ("ec", "dec", X - 50.0),
        ("x", "x_max", X + ERR),  # a maximum with no minimum
        ("x", "x_err_up", ERR),  # half a pair
        ("x", "dX", ERR),
        ("pl_x", "pl_xsymerr", np.ones(200)),  # NASA Exoplanet Archive: a flag
        ("den", "design", ERR - 10.0),
    ],
)
def test_what_is_no_error(value, name, numbers):
    assert errors(**{value: X, name: numbers}).get(value) is None


def test_what_has_an_error_is_a_measurement():
    # A velocity dispersion beside the velocity, each with errors of its own.
    columns = {"v": X, "v_ep": ERR, "v_em": ERR, "v_sigma": ERR, "v_sigma_ep": 0.1 * ERR, "v_sigma_em": 0.1 * ERR}
    assert errors(**columns) == {"v": ("v_ep", "v_em"), "v_sigma": ("v_sigma_ep", "v_sigma_em")}
    assert errors(v=X, sigma_v=ERR, e_v=ERR, e_sigma_v=ERR) == {"v": "e_v", "sigma_v": "e_sigma_v"}


def test_both_sides_are_preferred_to_one_error_and_errors_to_variances():
    assert errors(x=X, x_err=ERR, x_err_up=ERR, x_err_lo=ERR) == {"x": ("x_err_up", "x_err_lo")}
    assert errors(x=X, ivar_x=ERR, var_x=ERR, x_err=ERR) == {"x": "x_err"}


def test_names_that_differ_in_capitals_stay_apart():
    assert errors(Mass=X, mass=X, e_Mass=ERR, e_mass=ERR) == {"Mass": "e_Mass", "mass": "e_mass"}


def test_a_bare_error_belongs_to_one_column_only():
    assert errors(x=X, y=X, err=ERR) == {"x": None, "y": None, "err": None}
    assert errors(id=X, ra=X, x=X, err=ERR)["x"] == "err"


def test_limits():
    flags = np.where(X > 60.0, 1.0, 0.0)
    (entry,), _ = find_measurements({"pl_massj": X, "pl_massjerr1": ERR, "pl_massjerr2": -ERR, "pl_massjlim": flags})
    assert (entry.error, entry.flag) == (("pl_massjerr1", "pl_massjerr2"), "pl_massjlim")
    (entry,), _ = find_measurements({"l_Mass": None, "Mass": X})  # VizieR: < and >
    assert entry.flag == "l_Mass"
    (entry,), _ = find_measurements({"x": X, "x_ul": X, "x_ll": X})
    assert (entry.upper_limit, entry.lower_limit) == ("x_ul", "x_ll")
    found, _ = find_measurements({"x": X, "x_lim": X})
    assert [entry.value for entry in found] == ["x", "x_lim"]


def test_sentinels_are_repeated_and_far():
    assert find_sentinels(np.append(X, [-999.0, -999.0])) == [-999.0]
    assert find_sentinels(np.append(X, [np.float32(-99.9)] * 2)) == [-99.9]
    assert find_sentinels(np.append(X, [9999.0, 9999.0, -99.0, -99.0])) == [-99.0, 9999.0]
    assert find_sentinels(np.append(X, [-999.0])) == []  # once
    assert find_sentinels(np.append(X, [-999.0]), once=True) == [-999.0]
    assert find_sentinels(np.append(X, [-1234.0, -1234.0])) == []  # no nines
    assert find_sentinels(np.append(X + 25.0, [99.0, 99.0])) == []  # among the others, which reach 100
    assert find_sentinels(np.full(5, -999.0)) == []
    assert find_sentinels(np.array([np.nan])) == []


@pytest.mark.parametrize("size", [11, 10])
@pytest.mark.parametrize(("start", "step"), [(-2.0, 0.1), (18.0, 0.1), (-2.0, 0.25), (0.0, 1.0)])
def test_neighbours_on_a_grid_are_no_sentinels(size, start, step):
    values = np.repeat(np.round(start + step * np.arange(size), 2), 20)
    assert find_sentinels(values, once=True) == []
    assert find_sentinels(np.append(values, [-99.0] * 3), once=True) == [-99.0]
    assert find_sentinels(np.append(values, [start - 30.0 * step] * 9), once=True) == [start - 30.0 * step]


def test_a_sentinel_that_is_a_value_elsewhere_is_none():
    columns = {"x": np.append(X, [-99.0] * 2), "y": np.append(10.0 * (X - 50.0), [-99.0, -100.0])}
    sentinels = forget_sentinels(columns)
    assert sentinels == {"x": [-99.0]}
    assert np.isnan(columns["x"][-2:]).all()
    assert common_sentinels(sentinels, columns) == {}
    assert common_sentinels(sentinels, {"x": columns["x"]}) == {-99.0: ["x"]}


def test_words_for_places_and_objects():
    for name in ("ra", "DEC", "RA_ICRS", "_DEJ2000", "RAJ2000", "GLON", "glat", "l", "sg_xx", "ra_deg"):
        assert is_coordinate(name, [name, "l", "b"]), name
    for name in ("radius", "rad_sersic", "delta_m", "dist", "lum", "rate", "mass", "pmra"):
        assert not is_coordinate(name, [name]), name
    for name in ("source_id", "Source", "name", "objID", "recno", "key", "pl_name", "kepid", "specObjID", "HIP", "ID"):
        assert is_identifier(name), name
    for name in ("Gmag", "width", "hidden", "x", "starlight", "n_stars"):
        assert not is_identifier(name), name
    assert unit_in("mass (M_sun)") == "M_sun"
    assert unit_in("e_[Fe/H]") is None


def test_limits_between_which_the_values_lie_are_bounds():
    """The confidence bounds of Chandra: also where there is no value."""
    values = np.where(np.arange(200) < 10, np.nan, X)
    found, others = find_measurements({"hard_hm": values, "hard_hm_lolim": X - 1.0, "hard_hm_hilim": X + 1.0})
    assert [(entry.value, entry.upper_limit, entry.lower_limit) for entry in found] == [("hard_hm", None, None)]
    assert others == {"hard_hm_lolim": "lower bound of hard_hm", "hard_hm_hilim": "upper bound of hard_hm"}
    # Limits of rows without a value are limits.
    upper = np.where(np.arange(200) < 10, X, np.nan)
    (entry,), _ = find_measurements({"flux": values, "flux_uplim": upper})
    assert entry.upper_limit == "flux_uplim"


@pytest.mark.parametrize("error", ["e_mass", "mass_err", "massErr"])
def test_the_error_of_a_column_of_text_is_no_value(error):
    found, others = find_measurements({"name": None, "mass": None, error: ERR, "z": X})
    assert [entry.value for entry in found] == ["z"]
    assert others == {error: "error of mass"}


@pytest.mark.parametrize("sentinel", [-10.0, 0.0, 1000.0, 1001.0])
def test_sentinels_that_are_no_nines(sentinel):
    numbers = np.append(RNG.normal(100.0, 15.0, 200), np.full(12, sentinel))
    assert find_sentinels(numbers) == [sentinel]
    # Once or twice may be a value, and a number among the others is one.
    assert find_sentinels(numbers[:201]) == []
    assert find_sentinels(np.append(numbers[:200], np.full(12, 100.0))) == []
    # Counts repeat.
    assert find_sentinels(RNG.poisson(2.0, 200).astype(float)) == []


def test_errors_without_a_unit_belong_to_no_one_where_two_differ_by_theirs():
    assert errors(flux_Jy=X, flux_mJy=X, flux_err=ERR) == {"flux_Jy": None, "flux_mJy": None, "flux_err": None}
    assert errors(flux_Jy=X, flux_mJy=X, flux_err_mJy=ERR)["flux_mJy"] == "flux_err_mJy"
    # A magnitude is a quantity, and an s may be a source.
    assert errors(g_mag=X, g_flux=X, g_err=ERR)["g_mag"] is None
    assert errors(z_s=X, z_l=X, z_err=ERR)["z_s"] is None
