"""Tables and the paragraph for papers: the right numbers and digits, escaped text, and references that are there."""

import dataclasses
import re

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import mixpipe
from mixpipe.base.latex import latex_math, latex_measured, latex_text
from mixpipe.results.astropy_tables import write_ecsv
from mixpipe.results.latex_tables import latex_table
from mixpipe.results.methods import describe_methods, list_references
from mixpipe.results.paper import PAPER_FILES, TEXT_FILES, write_paper
from mixpipe.results.record import IntervalRow, QualityRecord, ResolutionRecord, SelectionRow
from mixpipe.results.references import REFERENCES
from tests.records import ACCOUNT, density_record, failed_record, fit_record, joint_record

NAN = float("nan")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        # Two digits of the uncertainty; 0.0996 rounds to 0.10, which has its second digit at 0.01.
        ((1.345678, 0.0123), r"$1.346 \pm 0.012$"),
        ((1.345678, 0.0996), r"$1.35 \pm 0.10$"),
        ((-0.001, 0.14), r"$0.00 \pm 0.14$"),
        ((5652.3, 2090.1), r"$5700 \pm 2100$"),
        # Both sides have the digits of the smaller one, and are one if they are equal in these.
        ((1.345678, 0.0204, 0.0198), r"$1.346 \pm 0.020$"),
        ((1.345678, 0.0123, 0.2), r"$1.346^{+0.200}_{-0.012}$"),
        ((0.05, 0.05, 0.021), r"$0.050^{+0.021}_{-0.050}$"),
        ((0.0, 0.0, 0.021), r"$0.000^{+0.021}_{-0.000}$"),
        # Powers of ten are those of the value.
        ((8.27e8, 8.6e7), r"$(8.27 \pm 0.86) \times 10^{8}$"),
        ((-3.2e-12, 1.1e-13, 2.2e-13), r"$-3.20^{+0.22}_{-0.11} \times 10^{-12}$"),
        ((1.0, 1.2e-8), r"$1.000000000 \pm 0.000000012$"),
        # Nothing is known.
        ((0.3,), "$0.3$"),
        ((1.5e-7, NAN), r"$1.5 \times 10^{-7}$"),
        ((2.0, 0.1, NAN), "$2$"),
    ],
)
def test_digits_follow_the_uncertainty(numbers, text):
    assert latex_measured(*numbers) == text


def test_text_is_escaped():
    name = r"[Fe/H]_95% & #1 ~x^2 {b} $c$ \d M☉"
    escaped = latex_text(name)
    assert escaped == (
        r"[Fe/H]\_95\% \& \#1 \textasciitilde{}x\textasciicircum{}2 \{b\} \$c\$ \textbackslash{}d M$\odot$"
    )
    assert latex_math("ΔBIC = 1,234.5") == r"$\Delta\mathrm{BIC} = 1{,}234.5$"
    record = fit_record(column=name)
    for text in (describe_methods(record, "latex"), latex_table(record), latex_table(record, "deluxetable")):
        assert escaped in text


def interval(component: int, parameter: str, estimate: float, lower: float, upper: float, **others) -> IntervalRow:
    given = {"method": "profile", "level": 0.68, "preferred": True} | others
    return IntervalRow(component=component, parameter=parameter, estimate=estimate, lower=lower, upper=upper, **given)


def test_a_table_has_the_intervals_to_quote():
    rows = (
        interval(1, "mean", 1.5, 1.48, 1.55),
        interval(1, "mean", 1.5, 1.3, 1.8, level=0.95),
        interval(1, "mean", 1.5, 1.4, 1.6, method="information", preferred=False),
        # This one does not contain the estimate: the standard error stands.
        interval(1, "weight", 1.0, 0.5, 0.9),
    )
    text = latex_table(fit_record(intervals=rows))
    assert r"1 & $1$ & $1.500^{+0.050}_{-0.020}$ & $0.5$ \\" in text
    assert r"Uncertainties are $68\,\%$ intervals of the profile likelihood." in text
    assert r" &  & ($\mathrm{M_{\odot}}$) & ($\mathrm{M_{\odot}}$) \\" in text
    # The likelihood says nothing of what another estimator finds.
    moments = latex_table(fit_record(intervals=rows, estimator="moments"))
    assert r"$1.50 \pm 0.10$" in moments
    assert "profile" not in moments


def test_limits_and_what_is_given_are_said():
    (component,) = fit_record().components
    on_boundary = dataclasses.replace(component, sigma=0.0, boundary=True, sigma_upper=0.0432)
    near = dataclasses.replace(component, sigma_upper=0.6, constraint={"mean": 1.5})
    components = (dataclasses.replace(on_boundary, weight=0.4), dataclasses.replace(near, weight=0.6, mean=2.0))
    text = latex_table(fit_record(components=components, n_components=2))
    assert r"1 & $0.4$ & $1.50 \pm 0.10$ & $< 0.043$ \\" in text
    assert r"Upper limits are at $95\,\%$." in text
    assert r"Component 2 has $\sigma < 0.6$ $\mathrm{M_{\odot}}$ at $95\,\%$." in text
    assert "Component 2: mean given." in text


@pytest.mark.parametrize("record", [fit_record(), joint_record()], ids=["column", "joint"])
def test_both_layouts_have_the_same_cells(record):
    plain, deluxe = latex_table(record), latex_table(record, "deluxetable")
    body = re.search(r"\\midrule\n(.*)\n\\bottomrule", plain, re.DOTALL)[1].replace(" \\\\", "").splitlines()
    data = re.search(r"\\startdata\n(.*)\n\\enddata", deluxe, re.DOTALL)[1].replace(" \\\\", "").splitlines()
    assert body == data
    n_columns = len(re.search(r"\\begin\{tabular\}\{(c+)\}", plain)[1])
    assert {line.count("&") + 1 for line in body} == {n_columns}
    assert len(re.search(r"\\begin\{deluxetable\}\{(c+)\}", deluxe)[1]) == n_columns
    assert deluxe.count(r"\colhead") % n_columns == 0
    with pytest.raises(ValueError, match="expected one of tabular, deluxetable"):
        latex_table(record, "html")


def test_the_choice_is_a_table():
    x = np.concatenate([np.linspace(-1, 1, 30) ** 3, 8 + np.linspace(-1, 1, 30) ** 3])
    selection = mixpipe.choose_n_components(x, 0.2, max_components=3)
    lines = [line for line in selection.to_latex().splitlines() if line.startswith(("1", "2", "3"))]
    assert [line.split(" & ")[0] for line in lines] == ["1", r"2$^\ast$", "3"]
    best = selection.best
    assert lines[1].split(" & ")[1:4] == ["5", f"${best.loglik:.2f}$", f"${best.bic:.2f}$"]
    table = selection.to_table()
    assert table["bic"].tolist() == [fit.bic for fit in selection.fits]
    assert table["selected"].tolist() == [False, True, False]


@pytest.mark.parametrize(("unit", "width"), [("mag(AB)", "mag"), ("dex(Msun)", "dex"), ("mas / yr", "mas / yr")])
def test_ecsv_has_units_and_every_bit(unit, width, tmp_path):
    (component,) = fit_record().components
    component = dataclasses.replace(component, mean=1 / 3, sigma=2 / 3)
    write_ecsv(fit_record(unit=unit, components=(component,)), tmp_path / "t.ecsv")
    table = QTable.read(tmp_path / "t.ecsv")
    assert (table["mean"].unit, table["mean_unc"].unit) == (u.Unit(unit), u.Unit(width))
    assert (table["mean"].value[0], table["sigma"].value[0]) == (1 / 3, 2 / 3)
    assert table["sigma"].unit == u.Unit(width)
    assert (table.meta["column"], table.meta["n_data"]) == ("mass", 10.0)


def test_fits_give_tables_with_units():
    fit = mixpipe.fit_mixture([7.41, 7.35, 7.52] * u.mas, [40, 50, 30] * u.uas, n_components=1)
    table = fit.to_table()
    assert table["mean"].unit == u.mas
    assert table["mean"][0] == fit.mixture.means[0] * u.mas
    assert table["mean_unc"][0] == fit.uncertainties.means[0] * u.mas
    magnitudes = mixpipe.fit_mixture([20.1, 20.4, 20.2] * u.ABmag, [0.1, 0.2, 0.1] * u.mag, n_components=1)
    assert magnitudes.to_table()["mean"].unit == u.ABmag
    assert magnitudes.to_table()["sigma"].unit == u.mag


def row(n_components: int, bic: float, **others) -> SelectionRow:
    given = {
        "n_params": 3 * n_components - 1, "loglik": 0.0, "aic": 0.0, "icl": 0.0, "delta_bic": 0.0, "converged": True,
        "selected": False, "gradient_max": None, "loglik_bound": None, "bound_sigma": None, "family": "gaussian",
        "bic_weight": 0.5, "exact": True, "occam": 0.0,
    }  # fmt: skip
    return SelectionRow(n_components=n_components, bic=bic, **given | others)


def plan(**column) -> dict:
    return {"key": None, "where": None, "column": {"transform": "none", "error": "e"} | column, "effort": {}}


def test_the_paragraph_has_the_numbers():
    record = fit_record(
        plan=plan() | {"effort": {"quality_draws": 199}, "where": "x > 1"},
        selection=(row(1, 2.0, selected=True), row(2, 4.5, occam=1.0), row(3, 7.25)),
        quality=QualityRecord(ks=0.1234, ks_pvalue=0.25, ad=0.5, ad_pvalue=0.005, verdict="rejected"),
        resolution=ResolutionRecord(
            floor=0.0123, cause="grid", grain=0.1, step=0.1, smallest_error=0.1, n_rows=0, n_repeated=0, first_row=None
        ),
        account=dataclasses.replace(ACCOUNT, n_read=15, n_used=10, dropped={"cut": 3, "missing_error": 2}),
        versions={"mixpipe": "1.2.3", "numpy": "2.0"},
    )
    text = describe_methods(record)
    for part in (
        "The distribution of mass in stars (release dr1) was modelled as a mixture of 1 Gaussian component",
        "Of 15 rows, 10 for which x > 1 were used; left out were 3 (cut) and 2 (missing error).",
        "No width was allowed below 0.012 Msun, which the steps between the values resolve.",
        # The second fit pays twice its nats: 4.5 + 2 - 2.
        "among M = 1 to 3 by the lowest Bayesian information criterion (BIC) (Schwarz 1978): M = 1 (2 free parameters, "
        "ln L = -1.00, BIC = 2.00) is preferred to the next best, M = 2, by ΔBIC = 4.5",
        "Uncertainties are standard errors from the observed information.",
        "The mixture does not describe the data (Kolmogorov-Smirnov statistic 0.123, p = 0.25 and Anderson-Darling "
        "statistic 0.5, p ≤ 0.005); the p-values come from 199 catalogs simulated from the fit and fitted again.",
        "The fit was made with mixpipe 1.2.3 and NumPy 2.0 (Harris et al. 2020).",
    ):
        assert part in text, part


ONE = row(1, 2.0, selected=True)
MANY = dataclasses.replace(ACCOUNT, n_read=5000, n_used=5000)
TESTED = QualityRecord(ks=0.1, ks_pvalue=0.5, ad=0.1, ad_pvalue=0.5, verdict="ok")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"plan": plan(error=None)}, "the values were taken to have no errors"),
        ({"plan": plan(error=["up", "lo"])}, "For unequal upper and lower errors"),
        ({"plan": plan(error_model="student_t", error_dof=4)}, "Student's t with 4 degrees of freedom"),
        ({"plan": plan(kind="samples")}, "samples of its posterior, divided by their prior (Hogg, Myers & Bovy 2010)"),
        ({"plan": plan(error_scale="fit"), "error_scale": 1.25, "error_scale_unc": 0.11}, "fitted, too: 1.25 ± 0.11."),
        ({"plan": plan(error_scale=0.608, error_floor=0.02)}, "multiplied by 0.608. An error of 0.02 Msun was added"),
        (
            {"plan": plan(error_scale="fit", error_floor=0.02), "error_scale": 1.25, "error_scale_unc": 0.11},
            "An error of 0.02 Msun was added in quadrature. All errors were multiplied by a common factor, which was",
        ),
        (
            {"plan": plan(transform="log10", error_floor=0.02), "unit": "log10(kpc)"},
            "An error of 0.02 kpc, before the logarithm was taken, was added in quadrature.",
        ),
        (
            {
                "plan": plan(transform="ln", error=None, error_floor=0.02, unit="pc"),
                "unit": "ln(pc)",
            },
            "each convolved with a Gaussian error of 0.02 pc, before the logarithm was taken.",
        ),
        ({"plan": plan(transform="log10")}, "The distribution of the decimal logarithm of mass"),
        ({"plan": plan(truncated=[1, None]), "truncated": (1.0, None)}, "being within bounds (above 1 Msun)."),
        ({"plan": plan(detection={"value": [1], "probability": [1]})}, "conditional on its detection"),
        ({"plan": plan(bins=["a", "b", "n"])}, "All 10 bins were used. They are a histogram of N = 10 values"),
        ({"plan": plan(prior={"min_rows": 5})}, "each component 5 rows beforehand (Fraley & Raftery 2007)"),
        ({"account": dataclasses.replace(ACCOUNT, n_upper_limits=2)}, "Among them are 2 upper limits"),
        (
            {"account": dataclasses.replace(ACCOUNT, weight_kind="importance")},
            "N = 10 rows of equal weight (Kish 1965)",
        ),
        ({"account": dataclasses.replace(ACCOUNT, weight_kind="counts")}, "objects that they stand for, N = 10 in all"),
        ({"criterion": "icl"}, "(ICL) (Biernacki, Celeux & Govaert 2000)"),
        ({"criterion": "aic"}, "(AIC) (Akaike 1974)"),
        ({"selection": (ONE,)}, "The number of components, M = 1, was given"),
        (
            {"selection": (ONE, row(1, 5.0, family="laplace+uniform"))},
            "among M = 1 components of the families Gaussian and Laplace + uniform by the lowest",
        ),
        ({"converged": False}, "The fit has not converged."),
        ({"estimator": "moments"}, "from moments of the true values (Pearson 1894; Wu & Yang 2020)"),
        ({"estimator": "density"}, "from the shares of the rows in bins (Freedman & Diaconis 1981)"),
        ({"sketch": {"n_points": 1234}}, "a sketch of 1,234 points, and the fit was finished on all rows"),
        ({"likelihood_ratio": {"statistic": 1.0, "p_value": 0.04, "n_draws": 99}}, "p = 0.04 among 99 catalogs"),
        ({"intervals": (interval(1, "mean", 1.5, 1.4, 1.6, method="bootstrap"),)}, "bias-corrected 68 % intervals"),
        ({"intervals": (interval(1, "mean", 1.5, 1.4, 1.6),)}, "68 % intervals of the profile likelihood"),
        ({"quality": TESTED}, "catalogs simulated from the fit and fitted again"),
        # Beyond 4000 rows p-values are those of the limit.
        ({"account": MANY, "quality": TESTED}, "the limit of such catalogs for many rows (Durbin 1973)"),
    ],
)
def test_what_was_done_is_said(changes, part):
    usual = {"plan": plan(), "selection": (row(1, 2.0, selected=True), row(2, 3.0))}
    assert part in describe_methods(fit_record(**usual | changes))
    # Where it was not done, it is not.
    assert part not in describe_methods(fit_record(**usual))


def test_the_columns_of_a_joint_fit_have_logarithms_and_errors_of_their_own():
    def text(*columns: dict) -> str:
        record = joint_record()
        column = record.plan["column"] | {"columns": columns, "covariance": None}
        return describe_methods(dataclasses.replace(record, plan=record.plan | {"column": column}))

    exact = text({"name": "a", "error": 0, "transform": "log10"}, {"name": "pm_b", "error": None, "transform": "none"})
    assert exact.startswith("The joint distribution of the decimal logarithm of a and pm_b in ")
    assert "covariances, and the values were taken to have no errors." in exact
    known = text(
        {"name": "a", "error": "e", "error_scale": 2.0},
        {"name": "pm_b", "error": 0, "error_floor": 0.3, "transform": "ln", "unit": "mas/yr"},
    )
    assert "The joint distribution of a and the natural logarithm of pm_b in " in known
    assert "All errors of a were multiplied by 2. An error of 0.3 mas/yr, before the logarithm" in known
    assert "was taken, was added in quadrature to those of pm_b." in known


@pytest.mark.parametrize("record", [fit_record(versions={"numpy": "2"}), joint_record()], ids=["column", "joint"])
def test_what_is_cited_is_in_the_bibliography(record):
    citations = re.findall(r"\\citep\{([^}]*)\}", describe_methods(record, "latex"))
    cited = {key for keys in citations for key in keys.split(",")}
    entries = re.findall(r"^@\w+\{(\w+),", describe_methods(record, "bibtex"), re.MULTILINE)
    assert cited
    assert entries == sorted(cited)
    assert sorted(REFERENCES[key].text for key in cited) == sorted(list_references(record))
    text = describe_methods(record)
    assert all(f"{REFERENCES[key].short} {REFERENCES[key].year}" in text for key in cited)
    with pytest.raises(ValueError, match="expected one of text, latex, bibtex"):
        describe_methods(record, "html")


def test_references_are_whole():
    for key, reference in REFERENCES.items():
        assert key.endswith(str(reference.year))
        # The key has the name of the first author, as the text has it.
        assert reference.short.lower().startswith(key.removesuffix(str(reference.year)))
        entry = reference.bibtex(key)
        assert entry.count("{") == entry.count("}")
        names = set(re.findall(r"^  (\w+) = ", entry, re.MULTILINE))
        assert {"author", "title", "year"} < names
        assert names & {"journal", "booktitle", "publisher"}


def test_numbers_without_a_unit_have_no_brackets():
    fit = mixpipe.fit_mixture(np.linspace(1, 2, 9) * u.dimensionless_unscaled, n_components=1)
    assert "()" not in fit.to_latex()


@pytest.mark.parametrize(("unit", "shown"), [("log10()", r"($\mathrm{dex}$)"), ("ln()", "(ln())")])
def test_logarithms_of_values_without_a_unit_say_so(unit, shown):
    assert latex_table(fit_record(unit=unit)).count(shown) == 2


def test_dates_keep_their_digits():
    x = 2459000.0 + np.linspace(0.0, 1.0, 60)
    fit = mixpipe.fit_mixture(x, 0.1, n_components=1, fixed={"means": [2459000.3]})
    assert "2459000.3" in fit.to_latex() and "2459000.3" in repr(fit)
    spread = mixpipe.fit_mixture(x, 0.1, n_components=2, background=(2459000.0, 2459001.5))
    assert "from $2459000.000$ to $2459001.500$" in spread.to_latex()


def test_fits_in_python_say_how_they_were_made():
    x = np.linspace(-1, 1, 30)
    none = mixpipe.fit_mixture(x, n_components=1).methods()
    assert "the values were taken to have no errors" in none
    assert "The fit is to N = 30 rows." in none
    two_sided = mixpipe.fit_mixture(x, [0.1 + 0.0 * x, 0.2 + 0.0 * x], n_components=1)
    assert "For unequal upper and lower errors" in two_sided.methods()
    tails = mixpipe.fit_mixture(x, 0.1, n_components=1, error_model="student_t", error_dof=5, error_scale=2.0)
    assert "Student's t with 5 degrees of freedom" in tails.methods()
    assert "All errors were multiplied by 2." in tails.methods()
    weights = np.where(x < 0.0, 1.5, 0.5)
    for values in (x, np.column_stack([x, x**2])):
        weighted = mixpipe.fit_mixture(values, 0.1, n_components=1, weights=weights).methods()
        worth = weights.sum() ** 2 / np.sum(weights**2)
        assert f"weighted rows. Rows have importance weights, and are worth N = {worth:g} rows" in weighted
        assert "standard errors from the sandwich" in weighted
    chosen = mixpipe.choose_n_components(x, 0.1, max_components=2).methods()
    assert "among M = 1 to 2" in chosen
    joint = mixpipe.fit_mixture(np.column_stack([x, x**2]), 0.1, n_components=1)
    assert "The joint distribution of" in joint.methods("latex")
    assert r"\begin{deluxetable}" in joint.to_latex("deluxetable")
    assert joint.summary().startswith("1 component in 2 columns")


def test_tabulated_densities_say_how_they_were_fitted(tmp_path):
    settings = {"transform": "none", "n_components": None, "max_components": 6, "tolerance": 0.02}
    record = density_record(plan={"key": None, "where": None, "column": settings}, n_not_converged=1)
    text = describe_methods(record)
    assert text.startswith("Each tabulated density of mass in stars (release dr1) was represented by a mixture of")
    assert "by variable projection (Golub & Pereyra 1973)." in text
    assert "is the smallest, up to 6, with which the cumulative distribution is nowhere off by more than 0.02: " in text
    assert "0.02: 1 in 1 row and 2 in 1 row." in text
    assert "is 0.1 in the median, and at most 0.2. 1 fit did not converge." in text
    settings["n_components"] = 3
    assert "M = 3, was given" in describe_methods(density_record(plan={"key": None, "column": settings}))
    write_paper(record, {name: tmp_path / file for name, file in TEXT_FILES.items()})
    assert {path.name for path in tmp_path.iterdir()} == {"methods.txt", "methods.tex", "references.bib"}
    assert (tmp_path / "methods.txt").read_text(encoding="utf-8").startswith(text)


def test_files_are_whole_and_warnings_stand_in_them(tmp_path):
    record = fit_record(warnings=("values are\nodd",))
    write_paper(record, {name: tmp_path / file for name, file in PAPER_FILES.items()})
    texts = {name: (tmp_path / file).read_text(encoding="utf-8") for name, file in PAPER_FILES.items()}
    assert texts["text"].splitlines()[0] == describe_methods(record)
    assert "Warnings of the fit\n\nvalues are\nodd" in texts["text"]
    for name in ("latex", "tabular", "deluxetable"):
        assert "% warning: values are odd\n" in texts[name]
    plain = " ".join(line for line in texts["latex"].splitlines() if not line.startswith("%"))
    assert plain == describe_methods(record, "latex")
    assert texts["bibtex"] == describe_methods(record, "bibtex")


def test_a_column_without_a_fit_says_why(tmp_path):
    record = failed_record()
    write_paper(record, {name: tmp_path / file for name, file in PAPER_FILES.items()})
    for file in PAPER_FILES.values():
        assert "no row of 10 can be used, in a.csv" in (tmp_path / file).read_text(encoding="utf-8")
    assert len(QTable.read(tmp_path / "components.ecsv")) == 0
    for file in ("components.tex", "components_aastex.tex", "methods.tex", "references.bib"):
        assert all(line.startswith("%") for line in (tmp_path / file).read_text(encoding="utf-8").splitlines())
