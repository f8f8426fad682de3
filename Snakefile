# mixpipe: Gaussian mixtures for catalog columns with per-row measurement errors.
#
#     snakemake --cores all                              config/config.yaml
#     snakemake --cores all --configfile mine.yaml       your own catalogs
#
# What every key of a configuration means: config/README.md. What is written where: results/README.md.
from snakemake.utils import min_version

min_version("9.0")


# Snakemake merges all configurations it is given: the demo must not slip into a run with catalogs of its own.
if "catalogs" not in config:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/densities.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/summary.csv",
        f"{RESULTS}/report.html",
        expand(f"{RESULTS}/{{release}}/input.csv", release=RELEASES),
        expand(f"{RESULTS}/{{column}}/{{figure}}.png", column=COLUMNS, figure=FIGURES),
        expand(f"{RESULTS}/{{column}}/densities.png", column=DENSITIES),
        expand(f"{RESULTS}/{{comparison}}/summary.csv", comparison=COMPARISONS),
        expand(f"{RESULTS}/{{column}}/members.fits", column=COLUMNS)
        if RUN.config.settings.fits_members
        else [],


onsuccess:
    print(f"mixpipe: the whole run on one page: {RESULTS}/report.html")
