# A column -> mixtures of 1, 2, ... components, and the figures of the chosen one.
rule fit:
    input:
        columns=lambda wildcards: checked_run().ingested(**wildcards),
        start=lambda wildcards: checked_run().start(**wildcards),
    output:
        **fit_files("{catalog}", "{release}", "{column}"),
    log:
        f"{LOGS}/fit/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/fit/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        catalog=catalog_of(SINGLE),
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


rule figures:
    input:
        fit=rules.fit.output.fit,
        members=rules.fit.output.members,
    output:
        **figure_files("{catalog}", "{release}", "{column}"),
    log:
        f"{LOGS}/figures/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        catalog=catalog_of(SINGLE),
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        abreast=1,
        mem_mb=lambda wildcards, input, attempt: attempt
        * min(4000, 1000 + int(20 * input.size_mb)),
        runtime=lambda wildcards, attempt: attempt * 10,
    params:
        code=code_hash("figures"),
    message:
        "drawing {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/figures.py"
