# A column -> mixtures of 1, 2, ... components, and the figures of the chosen one.
rule fit:
    input:
        columns=lambda wildcards: checked_run().ingested(**wildcards),
    output:
        components=report(
            f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/components.csv",
            caption="../report/components.rst",
            category="{catalog}",
            subcategory="{release}",
            labels={"column": "{column}", "shows": "components"},
        ),
        selection=f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/selection.csv",
        estimators=f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/estimators.csv",
        intervals=f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/intervals.csv",
        members=f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/members.parquet",
        fit=f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/fit.json",
    log:
        f"{LOGS}/fit/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/fit/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        catalog=catalog_of(COLUMNS),
    conda:
        "../envs/mixpipe.yaml"
    threads: share_of_cores
    resources:
        # More than a million rows are not held in memory, unless the column is one of other families or has bounds.
        mem_mb=lambda wildcards, input, attempt: attempt
        * min(4000, 1000 + int(20 * input.size_mb)),
        runtime=lambda wildcards, input, attempt: attempt
        * (10 + int(0.2 * input.size_mb)),
    params:
        plan=lambda wildcards: RUN.fit(**wildcards),
    message:
        "fitting {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/fit.py"


rule members:
    input:
        fit=rules.fit.output.fit,
        members=rules.fit.output.members,
    output:
        table=f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/members.fits",
    log:
        f"{LOGS}/members/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/members/{{catalog}}/{{release}}/{{column}}.tsv"
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 1000,
        runtime=lambda wildcards, input, attempt: attempt
        * (10 + int(0.1 * input.size_mb)),
    params:
        code=code_hash("members"),
    message:
        "writing {output.table}"
    script:
        "../scripts/members.py"


rule figures:
    input:
        fit=rules.fit.output.fit,
        members=rules.fit.output.members,
    output:
        **{name: drawn(name) for name in FIGURES},
    log:
        f"{LOGS}/figures/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/{{catalog}}/{{release}}/{{column}}.tsv"
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt
        * min(4000, 1000 + int(20 * input.size_mb)),
        runtime=lambda wildcards, attempt: attempt * 10,
    params:
        code=code_hash("figures"),
    message:
        "drawing {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/figures.py"
