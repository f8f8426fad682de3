# All fits -> the account of each release, the summary and the report of the run.
rule accounting:
    input:
        fits=lambda wildcards: expand(
            f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/fit.json",
            column=RUN.fits(wildcards.catalog),
            allow_missing=True,
        ),
    output:
        table=f"{RESULTS}/{{catalog}}/{{release}}/input.csv",
    log:
        f"{LOGS}/accounting/{{catalog}}/{{release}}.log",
    benchmark:
        f"{BENCHMARKS}/accounting/{{catalog}}/{{release}}.tsv"
    localrule: True
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 1000,
        runtime=lambda wildcards, attempt: attempt * 10,
    params:
        code=code_hash("account"),
        # Snakemake does not look at the order of files; here it is that of rows.
        columns=lambda wildcards: RUN.fits(wildcards.catalog),
        ingest=f"{RESULTS}/{{catalog}}/{{release}}/ingest",
        ingested=lambda wildcards: RUN.ingested_names(**wildcards),
    message:
        "counting the rows of {wildcards.catalog} {wildcards.release}"
    script:
        "../scripts/accounting.py"


rule summary:
    input:
        fits=expand(f"{RESULTS}/{{column}}/fit.json", column=FITS),
        comparisons=expand(
            f"{RESULTS}/{{comparison}}/summary.csv", comparison=ALL_COMPARISONS
        ),
    output:
        table=report(
            f"{RESULTS}/summary.csv",
            caption="../report/summary.rst",
            category="summary",
            labels={"shows": "summary"},
        ),
    log:
        f"{LOGS}/summary.log",
    benchmark:
        f"{BENCHMARKS}/summary.tsv"
    localrule: True
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 1000,
        runtime=lambda wildcards, attempt: attempt * 10,
    params:
        code=code_hash("summary"),
        order=FITS,
    message:
        "writing {output.table}"
    script:
        "../scripts/summary.py"


rule report:
    input:
        fits=expand(f"{RESULTS}/{{column}}/fit.json", column=FITS),
        figures=expand(
            f"{RESULTS}/{{column}}/{{figure}}.svg", column=COLUMNS, figure=FIGURES
        )
        + expand(f"{RESULTS}/{{column}}/densities.svg", column=DENSITIES)
        + expand(
            f"{RESULTS}/{{column}}/{{figure}}.svg", column=JOINTS, figure=JOINT_FIGURES
        ),
        curves=expand(f"{RESULTS}/{{column}}/curves.json", column=WITH_MEMBERS),
        comparisons=expand(
            f"{RESULTS}/{{comparison}}/summary.csv", comparison=ALL_COMPARISONS
        ),
        compared=expand(
            f"{RESULTS}/{{comparison}}/{{file}}",
            comparison=ALL_COMPARISONS,
            file=("components.csv", "overlay.svg"),
        ),
    output:
        page=f"{RESULTS}/report.html",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    localrule: True
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt
        * max(1000, int(5 * input.size_mb)),
        runtime=lambda wildcards, attempt: attempt * 10,
    params:
        code=code_hash("report"),
        # Texts of the user: of a function's value Snakemake takes no braces for wildcards.
        command=lambda wildcards: COMMAND,
        config=lambda wildcards: json.dumps(config),
    message:
        "writing {output.page}"
    script:
        "../scripts/report.py"


# The hashes of all results and catalogs, for `mixpipe verify`.
rule manifest:
    input:
        fits=expand(f"{RESULTS}/{{column}}/fit.json", column=FITS),
        others=[
            f"{RESULTS}/summary.csv",
            f"{RESULTS}/report.html",
            *expand(f"{RESULTS}/{{column}}/predict.parquet", column=PREDICTED),
            *expand(
                f"{RESULTS}/{{column}}/{{file}}",
                column=WITH_MEMBERS,
                file=PAPER_FILES.values(),
            ),
            *expand(
                f"{RESULTS}/{{column}}/{{file}}",
                column=DENSITIES,
                file=TEXT_FILES.values(),
            ),
            *expand(f"{RESULTS}/{{release}}/input.csv", release=RELEASES),
            *expand(
                f"{RESULTS}/{{comparison}}/{{file}}",
                comparison=ALL_COMPARISONS,
                file=(
                    "summary.csv",
                    "components.csv",
                    "overlay.png",
                    "overlay.svg",
                    "overlay.pdf",
                ),
            ),
            *(
                expand(f"{RESULTS}/{{column}}/members.fits", column=WITH_MEMBERS)
                if RUN.config.settings.fits_members
                else []
            ),
        ],
    output:
        manifest=f"{RESULTS}/manifest.json",
    log:
        f"{LOGS}/manifest.log",
    benchmark:
        f"{BENCHMARKS}/manifest.tsv"
    localrule: True
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 1000,
        runtime=lambda wildcards, attempt: attempt * 10,
    params:
        code=code_hash("manifest"),
        config=lambda wildcards: json.dumps(config),
        plans=lambda wildcards: json.dumps(derived_plans(RUN)),
    message:
        "writing {output.manifest}"
    script:
        "../scripts/manifest.py"
