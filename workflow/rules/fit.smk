# A column -> mixtures of 1, 2, ... components, and the figures of the chosen one.
#
# A fit also climbs from that of the release before. It waits for it only if it has to be done itself: a release that
# changes must not do those after it again, and Snakemake does not look at jobs behind one that it runs, not even behind
# an `ancient` file. So the start is a file of its own, and for a fit that is there it has nothing that makes it: the job
# below then lacks its input, and Snakemake takes the file as it is.
rule start:
    input:
        lambda wildcards: checked_run().start_sources(
            wildcards.catalog, wildcards.release, [wildcards.column]
        )
        or "(kept)",
    output:
        f"{RESULTS}/{{catalog}}/{{release}}/starts/{{column}}.json",
    log:
        f"{LOGS}/start/{{catalog}}/{{release}}/{{column}}.log",
    wildcard_constraints:
        catalog=any_of(name.split("/")[0] for name in SINGLE),
    localrule: True
    conda:
        "../envs/mixpipe.yaml"
    message:
        "taking the fit before {wildcards.catalog} {wildcards.release} {wildcards.column} for a start"
    shell:
        PUT_TOGETHER


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
