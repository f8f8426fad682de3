# Several columns of a release -> one mixture with covariances, its figures, and what it predicts.
rule joint:
    input:
        columns=lambda wildcards: sorted(checked_run().ingested(**wildcards)),
    output:
        **{name: f"{FOLDER}/{file}" for name, file in JOINT_FILES.items()},
    log:
        f"{LOGS}/joint/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/joint/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        **OF_JOINTS,
    conda:
        "../envs/mixpipe.yaml"
    threads: share_of_cores
    resources:
        # A million rows are held in memory; more are read again for each pass.
        mem_mb=lambda wildcards, input, attempt: attempt
        * min(6000, 1000 + int(15 * input.size_mb)),
        runtime=lambda wildcards, input, attempt: attempt
        * (20 + int(0.5 * input.size_mb)),
    params:
        plan=lambda wildcards: RUN.joint_fit(**wildcards),
    message:
        "fitting {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/joint.py"


rule predict:
    input:
        fit=f"{FOLDER}/fit.json",
        members=f"{FOLDER}/members.parquet",
    output:
        table=f"{FOLDER}/predict.parquet",
    log:
        f"{LOGS}/predict/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/predict/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        **OF_JOINTS,
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 1000,
        runtime=lambda wildcards, input, attempt: attempt
        * (10 + int(0.1 * input.size_mb)),
    params:
        code=code_hash("predict"),
        # In one text: Snakemake does not look at which param has which value.
        plan=lambda wildcards: RUN.predictions(wildcards.catalog, wildcards.column),
    message:
        "predicting {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/predict.py"


rule joint_figures:
    input:
        fit=f"{FOLDER}/fit.json",
        members=f"{FOLDER}/members.parquet",
        columns=lambda wildcards: expand(
            f"{RESULTS}/{{catalog}}/{{release}}/{{name}}/fit.json",
            name=RUN.columns_of(wildcards.catalog, wildcards.column),
            allow_missing=True,
        ),
    output:
        **{figure: drawn(figure) for figure in JOINT_FIGURES},
        curves=f"{FOLDER}/curves.json",
    log:
        f"{LOGS}/figures/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        **OF_JOINTS,
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        abreast=1,
        mem_mb=lambda wildcards, input, attempt: attempt
        * min(4000, 1000 + int(20 * input.size_mb)),
        runtime=lambda wildcards, attempt: attempt * 10,
    params:
        code=code_hash("joint_figures"),
        looks=lambda wildcards: RUN.looks(wildcards.catalog),
    message:
        "drawing {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/joint_figures.py"


rule joint_export:
    input:
        fit=f"{FOLDER}/fit.json",
        members=f"{FOLDER}/members.parquet",
    output:
        table=f"{FOLDER}/members.fits",
    log:
        f"{LOGS}/members/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/members/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        **OF_JOINTS,
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
        "writing the members of {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/members.py"
