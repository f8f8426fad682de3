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
PAPER = {
    "components.ecsv",
    "components.tex",
    "components_aastex.tex",
    "methods.txt",
    "methods.tex",
    "references.bib",
}
IMAGES = {
    f"{figure}.{kind}"
    for figure in ("mixture", "selection", "classes", "quality", "estimators")
    for kind in ("png", "svg", "pdf")
}
