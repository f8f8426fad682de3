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
    QualityRecord,
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


def failed_record(**changes: Any) -> FailedRecord:
    """A column that nothing could be fitted to."""
    given = {
        "unit": None,
        "failure": Failure(what="no row of 10 can be used", where="in a.csv", expected="at least one row"),
        "criterion": "bic",
        "account": dataclasses.replace(ACCOUNT, n_used=0, dropped={"column_failed": 10}, unit=None),
    }
    return FailedRecord(**common() | given | changes)
