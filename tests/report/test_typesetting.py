"""Numbers, units and names as the figures write them, by table."""

import math

import pytest

from mixpipe.report.typesetting import (
    compact_text,
    density_text,
    number_text,
    quantity_text,
    short,
    unit_text,
    wrap,
)

NUMBERS = {
    # value, uncertainty: as an author would write it, and in few characters.
    (1.345678, 0.0123): ("1.346 ± 0.012", "1.346(12)"),
    (-0.5, 0.017): ("−0.500 ± 0.017", "−0.500(17)"),
    (0.28, 0.0896): ("0.280 ± 0.090", "0.280(90)"),
    (0.28, 0.0996): ("0.28 ± 0.10", "0.28(10)"),
    (2459000.12347, 0.001): ("2459000.1235 ± 0.0010", "2459000.1235(10)"),
    (12.3, 2.34): ("12.3 ± 2.3", "12.3(2.3)"),
    (1234.0, 56.0): ("1234 ± 56", "1234(56)"),
    (5652.3, 2090.1): ("5700 ± 2100", "5700(2100)"),
    (3.0e40, 8.1e38): ("3.000e40 ± 8.1e38", "3.000(81)e40"),
    (1.5e-12, 3.2e-14): ("1.500e−12 ± 3.2e−14", "1.500(32)e−12"),
    (0.0, 0.021): ("0.000 ± 0.021", "0.000(21)"),
}


@pytest.mark.parametrize("numbers", NUMBERS)
def test_the_uncertainty_decides_on_the_digits(numbers):
    assert (number_text(*numbers), compact_text(*numbers)) == NUMBERS[numbers]


@pytest.mark.parametrize("unc", [math.nan, 0.0])
@pytest.mark.parametrize(
    "value, width, text",
    [(0.1 + 0.2, 2.0, "0.300"), (2459000.123456789, 0.5, "2459000.1235"), (0.0012345678901234567, 1.0, "0.001")],
)
def test_what_has_no_uncertainty_has_the_digits_that_can_be_seen(value, width, text, unc):
    assert number_text(value, unc, width) == compact_text(value, unc, width) == text


@pytest.mark.parametrize("value, text", [(0.0123456, "0.0123"), (1e-16 / 3.0, "3.33e−17"), (54321.0, "54321")])
def test_a_number_without_any_measure_has_three_digits(value, text):
    assert short(value) == text


UNITS = {
    "Msun": "M☉",
    "solMass": "M☉",
    "Msun / yr": "M☉ / yr",
    "km/s": "km/s",
    "km s-1": "km s⁻¹",
    "km s^-1": "km s⁻¹",
    "km s**-1": "km s⁻¹",
    "mas/yr": "mas/yr",
    "Angstrom": "Å",
    "erg / (cm2 s)": "erg / (cm² s)",
    "1e-17 erg cm-2 s-1": "10⁻¹⁷ erg cm⁻² s⁻¹",
    "10**-17 erg": "10⁻¹⁷ erg",
    "2.5e-3 mag": "2.5·10⁻³ mag",
    "mag/arcsec2": "mag/arcsec²",
    "dex": "dex",
    "my_unit": "my_unit",
    "%": "%",
}


@pytest.mark.parametrize("unit", UNITS)
def test_units_have_their_symbols_and_raised_powers(unit):
    assert unit_text(unit) == UNITS[unit]


@pytest.mark.parametrize(
    "name, unit, axis, density",
    [
        ("mass", "Msun", "mass [M☉]", "density [M☉⁻¹]"),
        ("[Fe/H]", "dex", "[Fe/H] [dex]", "density [dex⁻¹]"),
        ("T90", "log10(s)", "log₁₀(T90 / s)", "density [dex⁻¹]"),
        ("M", "log10(Msun)", "log₁₀(M / M☉)", "density [dex⁻¹]"),
        ("L", "log10(erg / s)", "log₁₀(L / (erg / s))", "density [dex⁻¹]"),
        ("T90", "log10()", "log₁₀(T90)", "density [dex⁻¹]"),
        ("age", "ln(Gyr)", "ln(age / Gyr)", "density"),
        ("pmra", "mas/yr", "pmra [mas/yr]", "density [(mas/yr)⁻¹]"),
        ("index", None, "index", "density"),
    ],
)
def test_axes_are_named_as_in_a_paper(name, unit, axis, density):
    assert (quantity_text(name, unit), density_text(unit)) == (axis, density)


@pytest.mark.parametrize("width", [10, 16, 40])
def test_wrapping_keeps_every_letter_and_the_width(width):
    text = "corrected_photometric_metallicity of_the_brightest/member " + "x" * 50
    lines = wrap(text, width).split("\n")
    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_lines_break_behind_words_and_their_parts():
    assert wrap("the_metallicity_of_stars and more", 16) == "the_metallicity_\nof_stars and\nmore"
    assert wrap("one two three four five", 9, 2) == "one two\nthree …"
