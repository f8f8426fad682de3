# Columns -> mixtures of 1, 2, ... components of each, and the figures of the chosen ones.
#
# A job is for one column, or for several of a release that has many (`JOBS`). It goes by the first one.
rule fit:
    input:
        columns=lambda wildcards: sorted(
            {
                part
                for column in of_job(wildcards)
                for part in checked_run().ingested(*column)
            }
        ),
        start=lambda wildcards: sorted(
            {
                start
                for column in of_job(wildcards)
                for start in checked_run().start(*column)
            }
        ),
    output:
        **{name: f"{FOLDER}/{file}" for name, file in FIT_FILES.items()}
        | {"components": shown(FIT_FILES["components"], "components")},
    log:
        f"{LOGS}/fit/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/fit/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        # Which columns there are, `share_jobs` knows.
        **ANY_COLUMN,
    conda:
        "../envs/mixpipe.yaml"
    threads: share_of_cores
    resources:
        # More than a million rows are not held in memory, unless the column is one of other families or has bounds.
        mem_mb=lambda wildcards, input, attempt: attempt
        * min(4000, 1000 + int(20 * input.size_mb)),
        runtime=job_runtime(0.2),
    params:
        what=told,
        plan=lambda wildcards: [RUN.fit(*column) for column in of_job(wildcards)],
        # In one order, whichever of them are there already.
        columns=lambda wildcards: [
            sorted(checked_run().ingested(*column)) for column in of_job(wildcards)
        ],
        start=lambda wildcards: [
            checked_run().start(*column) for column in of_job(wildcards)
        ],
    message:
        "fitting {params.what}"
    script:
        "../scripts/fit.py"


rule draw:
    input:
        fit=job_files("fit.json"),
        members=job_files("members.parquet"),
    output:
        **{figure: drawn(figure) for figure in FIGURES},
        curves=f"{FOLDER}/curves.json",
    log:
        f"{LOGS}/figures/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        **ANY_COLUMN,
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        abreast=1,
        mem_mb=lambda wildcards, input, attempt: attempt
        * min(4000, 1000 + int(20 * input.size_mb)),
        runtime=job_runtime(0),
    params:
        what=told,
        code=code_hash("figures"),
        look=lambda wildcards: [RUN.look(*column[::2]) for column in of_job(wildcards)],
    message:
        "drawing {params.what}"
    script:
        "../scripts/figures.py"


share_jobs(rules.fit.rule, JOBS)
share_jobs(rules.draw.rule, JOBS)
