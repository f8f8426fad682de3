"""Records for tests: whole ones, with what a test is about in the place of what it is not."""

import dataclasses
from typing import Any

from mixpipe.results.record import (
    AccountRecord,
    ComponentRecord,
    DensityRecord,
    ExampleRecord,
    FailedRecord,
    Failure,
    FitRecord,
    JointComponentRecord,
    JointQualityRecord,
    JointRecord,
    PatternRecord,
    QualityRecord,
    ResolutionRecord,
    SelectionRow,
    SourceFile,
    Spread,
)

FILE = SourceFile(path="a.csv", n_rows=10, sha256="0")
ACCOUNT = AccountRecord(
    column="mass", n_read=10, n_used=10, dropped={"cut": 0}, unit="Msun", value="mass", error="e", files=(FILE,)
)


def common(**changes: Any) -> dict[str, Any]:
    """What a record says beside its numbers."""
    given = {
        "catalog": "stars",
        "release": "dr1",
        "column": "mass",
        "unit": "Msun",
        "account": ACCOUNT,
        "plan": {"key": None, "column": {"transform": "none"}},
        "command": None,
        "versions": {},
    }
    return given | changes


def around(**changes: Any) -> dict[str, Any]:
    """What the record of a fit says beside what its selection and its quality say."""
    nothing = dict.fromkeys(("start", "sketch", "likelihood_ratio", "truncated"))
    return common() | nothing | {"estimators": (), "intervals": ()} | changes


def fit_record(**changes: Any) -> FitRecord:
    """A fit of one component."""
    component = ComponentRecord(
        weight=1.0, weight_unc=0.0, mean=1.5, mean_unc=0.1, sigma=0.5, sigma_unc=None,
        boundary=False, sigma_upper=None, family="gaussian", shape=None, shape_unc=None,
    )  # fmt: skip
    given = {
        "n_data": 10.0, "estimator": "em", "criterion": "bic", "n_components": 1, "n_params": 2,
        "loglik": -1.0, "entropy": 0.0, "bic": 2.0, "aic": 3.0, "icl": 4.0,
        "converged": True, "remaining_gain": 0.0, "n_passes": 5, "sigma_floor": 0.0,
        "components": (component,), "selection": (), "warnings": (),
        "quality": QualityRecord(ks=0.1, ks_pvalue=None, ad=0.2, ad_pvalue=None, verdict="untested"),
    }  # fmt: skip
    return FitRecord(**around() | given | changes)


def density_record(**changes: Any) -> DensityRecord:
    """A column of two densities."""
    example = ExampleRecord(
        which="best", row=3, ks=0.1, weights=(1.0,), means=(0.5,), sigmas=(0.1,), grid=(0.0, 1.0), density=(1.0, 1.0)
    )
    given = {
        "n_data": 2, "criterion": "ks < 0.01", "n_components": 2, "n_rows": {"1": 1, "2": 1},
        "ks": Spread(median=0.1, largest=0.2), "l2": Spread(median=0.01, largest=0.02), "normalisation": "sum",
        "converged": True, "n_not_converged": 0, "warnings": (), "examples": (example,),
        "account": dataclasses.replace(ACCOUNT, normalisation="sum", error=None),
    }  # fmt: skip
    return DensityRecord(**common() | given | changes)


def joint_record(**changes: Any) -> JointRecord:
    """Two components in the columns a and pm_b; the second has no width along a."""
    common_to_both = {
        "weight_unc": 0.035, "means_unc": (0.1, 0.2), "sigmas_unc": (0.05, 0.06),
        "correlations_unc": ((None, 0.1), (0.1, None)), "effective_rows": 90.0,
    }  # fmt: skip
    components = (
        JointComponentRecord(
            weight=0.6, means=(0.0, 1.0), sigmas=(1.0, 2.0), correlations=((1.0, 0.5), (0.5, 1.0)),
            covariances=((1.0, 1.0), (1.0, 4.0)), rank=2, null_directions=(), null_limits=(), **common_to_both,
        ),
        JointComponentRecord(
            weight=0.4, means=(6.0, -4.0), sigmas=(0.0, 1.0), correlations=((None, None), (None, 1.0)),
            covariances=((0.0, 0.0), (0.0, 1.0)), rank=1, null_directions=((-1.0, 0.0),), null_limits=(0.25,),
            **common_to_both,
        ),
    )  # fmt: skip
    row = {
        "n_params": 11, "loglik": -700.0, "bic": 1458.0, "aic": 1422.0, "icl": 1460.0, "delta_bic": 0.0,
        "converged": True, "selected": True, "gradient_max": None, "loglik_bound": None, "bound_sigma": None,
        "family": "gaussian", "bic_weight": 1.0, "exact": True, "occam": 0.0,
    }  # fmt: skip
    one = row | {"n_params": 5, "loglik": -900.0, "bic": 1826.0, "delta_bic": 368.0, "selected": False}
    resolution = ResolutionRecord(
        floor=0.0, cause="errors", grain=0.0, step=0.0, smallest_error=0.5, n_rows=0.0, n_repeated=0.0, first_row=None
    )
    column = {
        "error_kind": "sigma", "error_scale": 1.0, "error_floor": 0.0, "sigma_floor": None, "transform": "none",
        "unit": None, "file_unit": None,
    }  # fmt: skip
    plan = {
        "key": None,
        "where": "a > -9",
        "effort": {"quality_draws": 199},
        "column": {
            "name": "both", "covariance": None, "linear": None, "missing": "use", "weight": None, "weight_kind": "auto",
            "columns": [
                {**column, "name": "a", "value": "A", "error": "e_A"},
                {**column, "name": "pm_b", "value": "pm_b", "error": ["lo", "up"], "error_floor": 0.01},
            ],
            "correlation": [["a", "pm_b", "rho"]],
            "structure": "full", "max_components": 2, "given": [], "predicted": [],
        },
    }  # fmt: skip
    given = {
        "column": "both", "unit": None, "names": ("a", "pm_b"), "units": ("mas", None), "structure": "full",
        "n_data": 200.0, "criterion": "bic", "n_components": 2, "n_params": 11, "n_params_by_rank": 10,
        "loglik": -700.0, "entropy": 1.0, "bic": 1458.0, "aic": 1422.0, "icl": 1460.0, "converged": True,
        "remaining_gain": 0.0, "n_passes": 9, "components": components, "parameter_names": (), "covariance": (),
        "resolutions": (resolution, resolution), "warnings": (), "intervals": (), "likelihood_ratio": None,
        "selection": (SelectionRow(n_components=1, **one), SelectionRow(n_components=2, **row)),
        "quality": (
            JointQualityRecord(name="a", n_rows=200, ks=0.04, ks_pvalue=0.3),
            JointQualityRecord(name="pm_b", n_rows=180, ks=0.05, ks_pvalue=0.2),
            JointQualityRecord(name="principal axis", n_rows=180, ks=0.09, ks_pvalue=0.005),
            JointQualityRecord(name="distance", n_rows=200, ks=0.03, ks_pvalue=None),
        ),
        "patterns": (PatternRecord(columns=("a", "pm_b"), n_rows=180), PatternRecord(columns=("a",), n_rows=20)),
        "unusable": {"a": {}, "pm_b": {"missing_value": 17, "bad_error": 3}},
        "account": AccountRecord(
            column="both", n_read=210, n_used=200, dropped={"cut": 10}, n_effective=200.0, unit=None,
            value=("A", "pm_b"), error=("e_A", "lo/up"), files=(FILE,),
        ),
        "plan": plan,
    }  # fmt: skip
    return JointRecord(**common() | given | changes)


def failed_record(**changes: Any) -> FailedRecord:
    """A column that nothing could be fitted to."""
    given = {
        "unit": None,
        "failure": Failure(what="no row of 10 can be used", where="in a.csv", expected="at least one row"),
        "criterion": "bic",
        "account": dataclasses.replace(ACCOUNT, n_used=0, dropped={"column_failed": 10}, unit=None),
    }
    return FailedRecord(**common() | given | changes)
