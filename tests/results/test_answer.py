"""The answer of a column: one sentence and its evidence, from the record alone."""

import dataclasses
import math

import pytest

from mixpipe.results.answer import answer, describe_component
from mixpipe.results.record import ComponentRecord, QualityRecord, SelectionRow
from tests.records import ACCOUNT, density_record, failed_record, fit_record, joint_record


def component(weight=0.5, mean=1.5, sigma=0.5, **more):
    given = {
        "weight_unc": 0.04, "mean_unc": 0.1, "sigma_unc": 0.05, "boundary": False, "sigma_upper": None,
        "family": "gaussian", "shape": None, "shape_unc": None,
    }  # fmt: skip
    return ComponentRecord(weight=weight, mean=mean, sigma=sigma, **(given | more))


def mixture(*components, **changes):
    return fit_record(components=components, n_components=len(components), **changes)


def selection_row(n_components, bic, *, selected=False, occam=0.0, aic=0.0):
    return SelectionRow(
        n_components=n_components, n_params=3 * n_components - 1, loglik=0.0, bic=bic, aic=aic, icl=0.0, delta_bic=0.0,
        converged=True, selected=selected, gradient_max=None, loglik_bound=None, bound_sigma=None, family="gaussian",
        bic_weight=None, exact=True, occam=occam,
    )  # fmt: skip


def test_populations_are_told_with_share_place_and_width():
    found = answer(mixture(component(0.72, 1.345678, 0.0781, mean_unc=0.0212, sigma_unc=0.0164), component(0.28, -3.0)))
    assert found.head == "two populations"
    assert found.parts == (
        "72 ± 4 % at 1.346 ± 0.021 Msun (σ 0.078 ± 0.016)",
        "28 ± 4 % at −3.00 ± 0.10 Msun (σ 0.500 ± 0.050)",
    )
    assert found.sentence == f"two populations: {found.parts[0]}; {found.parts[1]}"
    assert answer(mixture(component(1.0))).sentence == "one population at 1.50 ± 0.10 Msun (σ 0.500 ± 0.050)"


@pytest.mark.parametrize(
    ("mean", "unit", "said"),
    [
        # 10^1.5 = 31.6, 10^0.1 = 1.26, 10^0.5 = 3.2.
        (
            1.5,
            "log10(d)",
            "at 1.50 ± 0.10 in log10(d), that is 31.6 d, uncertain by a factor of 1.26 (σ 0.500 ± 0.050, a factor of",
        ),
        # e^1.5 = 4.48, e^0.1 = 1.11.
        (
            1.5,
            "ln(d)",
            "at 1.50 ± 0.10 in ln(d), that is 4.48 d, uncertain by a factor of 1.11 (σ 0.500 ± 0.050, a factor of "
            "1.649)",
        ),
        (9.0, "dex(Msun)", "at 9.00 ± 0.10 dex(Msun), that is 1.00e9 Msun, uncertain by a factor of 1.26"),
        # Of values without a unit.
        (-0.5, "log10()", "at −0.50 ± 0.10 in log10, that is 0.316, uncertain by a factor of 1.26"),
        (1.5, "ln()", "at 1.50 ± 0.10 in ln, that is 4.48, uncertain by a factor of 1.11"),
        (-0.5, "dex", "at −0.50 ± 0.10 dex, that is 0.316, uncertain by a factor of 1.26"),
        (1.5, "mag", "at 1.50 ± 0.10 mag (σ 0.500 ± 0.050)"),
        # No power of it is a number.
        (400.0, "log10(d)", "at 400.00 ± 0.10 in log10(d) (σ"),
    ],
)
def test_logarithms_are_converted_back(mean, unit, said):
    assert said in answer(mixture(component(1.0, mean), unit=unit)).sentence


def test_widths_that_are_not_resolved_are_bounds():
    bound = component(0.5, sigma=0.0, sigma_unc=None, boundary=True, sigma_upper=0.1234)
    unknown = component(0.5, 2.0, sigma=0.0, sigma_unc=None, boundary=True)
    first, second = answer(mixture(bound, unknown)).parts
    assert first.endswith("(σ < 0.12 at 95 %)") and second.endswith("(no width resolved)")


def test_other_families_say_what_they_are():
    tail = component(0.6, family="student_t", shape=3.0, shape_unc=0.5)
    level = component(0.1, 5.0, 1.0 / math.sqrt(3.0), family="uniform", mean_unc=None, sigma_unc=None)
    given = component(0.3, constraint={"mean": 1.5})
    found = answer(mixture(tail, level, given))
    assert found.head == "two populations and a uniform background"
    assert "(student t, dof 3.00 ± 0.50; σ 0.500 ± 0.050)" in found.parts[0]
    assert found.parts[1] == "10 ± 4 % evenly spread from 4.000 to 6.000 Msun"
    assert found.parts[2].endswith("(σ 0.500 ± 0.050; mean given)")


def test_of_many_components_the_heaviest_are_told_in_their_order():
    weights = (0.02, 0.2, 0.2, 0.01, 0.15, 0.15, 0.15, 0.12)
    found = answer(mixture(*(component(weight, float(j)) for j, weight in enumerate(weights))))
    assert found.head == "eight populations" and len(found.parts) == 7
    assert [part.split(" at ")[1].split()[0] for part in found.parts[:6]] == [
        "1.00",
        "2.00",
        "4.00",
        "5.00",
        "6.00",
        "7.00",
    ]
    assert found.parts[6] == "and 2 more with 3 % together"


def test_the_choice_counts_from_the_chosen_number_with_what_is_charged():
    rows = (
        selection_row(1, 110.04), selection_row(2, 100.0, selected=True), selection_row(3, 99.0, occam=4.0),
        selection_row(4, 300.0),
    )  # fmt: skip
    two = [component(), component(mean=3.0)]
    assert answer(mixture(*two, selection=rows)).evidence[1] == "BIC prefers two to one by 10.0 and to three by 7.0"
    # A fit without a maximum is never chosen: its Occam factor is infinite, which JSON has as null.
    rows = (*rows[:2], dataclasses.replace(rows[2], occam=None), rows[3])
    assert answer(mixture(*two, selection=rows)).evidence[1] == "BIC prefers two to one by 10.0 and to four by 200"
    asked = answer(mixture(*two, selection=rows[1:2], options={"n_components": 2}))
    assert asked.evidence[1] == "two as asked for"


@pytest.mark.parametrize(
    ("pvalues", "verdict", "said"),
    [
        ((0.3, 0.055), "ok", "fit ok: p = 0.055"),
        ((0.3, None), "ok", "fit ok: p = 0.3"),
        ((0.3, 0.005), "rejected", "fit rejected: p ≤ 0.005, at most 0.01; off by at most 5 % of the rows: clear"),
        ((None, None), "untested", "fit untested, off by at most 5 % of the rows: clear"),
    ],
)
def test_the_verdict_has_its_p_value(pvalues, verdict, said):
    quality = QualityRecord(ks=0.05, ks_pvalue=pvalues[0], ad=0.2, ad_pvalue=pvalues[1], verdict=verdict)
    plan = {"key": None, "column": {"transform": "none"}, "effort": {"quality_draws": 199}}
    found = answer(mixture(component(), component(mean=2.0), quality=quality, plan=plan))
    assert found.evidence[-1] == said
    rejected = verdict == "rejected"
    assert found.head == ("two components, which do not describe the rows" if rejected else "two populations")


def test_rows_and_warnings_are_counted():
    account = dataclasses.replace(ACCOUNT, n_upper_limits=3, n_lower_limits=1, dropped={"cut": 2, "bad_error": 1})
    found = answer(fit_record(account=account, warnings=("a", "b"), converged=False))
    assert found.evidence[0] == "10 rows (3 upper limits, 1 lower limit, 3 dropped)"
    assert found.warnings == 3 and found.basis.endswith("; 3 warnings")
    weighted = dataclasses.replace(ACCOUNT, weight_kind="importance", n_effective=7.5)
    assert answer(fit_record(account=weighted, n_data=7.5)).evidence[0] == "10 rows worth 7.5"
    binned = dataclasses.replace(ACCOUNT, value=("lo", "hi", "n"), weight_kind="counts")
    assert answer(fit_record(account=binned, n_data=1000.0)).evidence[0] == "1,000 rows in 10 bins"
    assert answer(fit_record()).basis.endswith("; no warnings")


def change(verdict, **more):
    row = {
        "verdict": verdict,
        "old": "2018",
        "evidence": "p = 0.46",
        "threshold": "0.05",
        "note": "",
        "differences": [],
    }
    return {**row, "n_components_old": 2.0, **more}


def difference(parameter, old, new, finding="shifted", status="matched"):
    uncertain = {"old_unc": 0.01, "new_unc": 0.02}
    return {
        "component_old": 1, "component_new": 1, "parameter": parameter, "old": old, "new": new, "finding": finding,
        "status": status, **uncertain,
    }  # fmt: skip


def test_what_changed_is_told_from_where_to_where():
    two = mixture(component(), component(mean=3.0))

    def head(*given, record=two, **more):
        return answer(record, change(*given, **more)).head

    assert head("unchanged") == "two populations, unchanged since 2018"
    assert answer(two, change("unchanged")).evidence[-1] == "since 2018: p = 0.46, threshold 0.05"
    rows = [
        difference("mean", 1.0, 1.5),
        difference("sigma", 0.5, 0.75, finding="hint"),
        difference("weight", 0.5, 0.75),
    ]
    assert head("shifted", differences=rows) == (
        "two populations, shifted since 2018 (mean of component 1 from 1.000 ± 0.010 to 1.500 ± 0.020 Msun, "
        "weight of component 1 from 0.500 ± 0.010 to 0.750 ± 0.020)"
    )
    one = mixture(component(1.0))
    assert head("shifted", record=one, n_components_old=1.0, differences=rows[:1]) == (
        "one population, shifted since 2018 (mean from 1.000 ± 0.010 to 1.500 ± 0.020 Msun): "
        "at 1.50 ± 0.10 Msun (σ 0.500 ± 0.050)"
    )
    many = [difference("mean", 1.0, 1.5)] * 5
    assert head("shifted", differences=many).endswith("1.500 ± 0.020 Msun, 2 more)")
    assert head("conclusion changed", n_components_old=1.0) == (
        "two populations, the conclusion has changed since 2018 (one before)"
    )
    moved = [difference("weight", 0.5, math.nan, "", "vanished"), difference("weight", math.nan, 0.5, "", "appeared")]
    assert head("conclusion changed", differences=moved).endswith("since 2018 (1 appeared, 1 vanished)")
    lacking = change("not compared", evidence="", threshold="", note="the column failed", n_components_old=math.nan)
    assert answer(two, lacking).head == "two populations, not compared with 2018"
    assert answer(two, lacking).evidence[-1] == "the column failed"


def test_several_columns_densities_and_failures_have_answers():
    joint = answer(joint_record())
    assert joint.head == "two components in a, pm_b, which do not describe the rows"
    assert joint.parts == (
        "60 ± 4 % at a = 0.00 ± 0.10 mas (σ 1.000 ± 0.050), pm_b = 1.00 ± 0.20 (σ 2.000 ± 0.060)",
        "40 ± 4 % at a = 6.00 ± 0.10 mas (no width resolved), pm_b = −4.00 ± 0.20 (σ 1.000 ± 0.060)",
    )
    assert "BIC prefers two to one by 368" in joint.evidence and "p ≤ 0.005" in joint.evidence[-1]
    densities = answer(density_record(n_rows={"1": 3, "2": 1}, n_data=4, truncated=(0.0, 2.5)))
    assert densities.sentence == (
        "a mixture for each of 4 densities between 0 and 2.5 Msun: 75 % with one component; 25 % with two components"
    )
    placed = answer(density_record(n_rows={"1": 4}, n_data=4, truncated=None, means=(-0.25, 0.5, 1.25)))
    assert placed.parts[-1] == "the heaviest component at 0.5 in the median, in 90 % between −0.25 and 1.25"
    assert "Kolmogorov-Smirnov distance median 0.1, largest 0.2" in densities.evidence
    failed = answer(failed_record())
    assert failed.sentence == "nothing could be fitted: no row of 10 can be used" and failed.evidence == (
        "0 rows (10 dropped)",
    )


def test_a_component_whose_uncertainties_are_not_known():
    assert describe_component(0.5, None, 1.0, None, 0.25, None) == "50 % at 1 (σ 0.25)"
