# The members of the components of a column as FITS.
rule members:
    input:
        fit=f"{FOLDER}/fit.json",
        members=f"{FOLDER}/members.parquet",
    output:
        table=f"{FOLDER}/members.fits",
    log:
        f"{LOGS}/members/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/members/{{catalog}}/{{release}}/{{column}}.tsv"
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        abreast=1,
        mem_mb=lambda wildcards, attempt: attempt * 1000,
        runtime=lambda wildcards, input, attempt: attempt
        * (10 + int(0.1 * input.size_mb)),
    params:
        code=code_hash("members"),
    message:
        "writing {output.table}"
    script:
        "../scripts/members.py"
