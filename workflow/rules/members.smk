# The members of the components of columns as FITS.
rule export:
    input:
        fit=job_files("fit.json"),
        members=job_files("members.parquet"),
    output:
        table=f"{FOLDER}/members.fits",
    log:
        f"{LOGS}/members/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/members/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        **ANY_COLUMN,
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        abreast=1,
        mem_mb=lambda wildcards, attempt: attempt * 1000,
        runtime=job_runtime(0.1),
    params:
        what=lambda wildcards: with_last(
            wildcards, job_files("members.fits")(wildcards)[0]
        ),
        code=code_hash("members"),
    message:
        "writing {params.what}"
    script:
        "../scripts/members.py"


share_jobs(rules.export.rule, JOBS)
