"""Names of the files that a fit writes for a column."""

TABLES = {
    "components.csv",
    "selection.csv",
    "estimators.csv",
    "intervals.csv",
    "covariance.csv",
    "bimodality.csv",
    "members.parquet",
    "fit.json",
}
IMAGES = {
    f"{figure}.{kind}"
    for figure in ("mixture", "selection", "classes", "quality", "estimators")
    for kind in ("png", "svg", "pdf")
}
