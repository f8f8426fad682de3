# A column of tabulated densities -> a mixture for each row, and a figure of three of them.
#
# The files are read piece by piece, and not ingested: arrays would only be copied.
rule densities:
    input:
        ancient(release_files),
    output:
        densities=f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/densities.parquet",
        fit=f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/fit.json",
    log:
        f"{LOGS}/densities/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/densities/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        catalog=catalog_of(DENSITIES),
    conda:
        "../envs/mixpipe.yaml"
    threads: share_of_cores
    resources:
        # Only formats that are read whole need more for larger files.
        mem_mb=lambda wildcards, input, attempt: attempt
        * min(16000, 1000 + int(10 * input.size_mb)),
        runtime=lambda wildcards, input, attempt: attempt
        * (10 + int(input.size_mb / 10)),
    params:
        plan=lambda wildcards: RUN.density_fit(**wildcards),
    message:
        "fitting {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/densities.py"


rule density_figure:
    input:
        fit=rules.densities.output.fit,
    output:
        densities=drawn("densities"),
    log:
        f"{LOGS}/figures/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/{{catalog}}/{{release}}/{{column}}.tsv"
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        abreast=1,
        mem_mb=lambda wildcards, attempt: attempt * 1000,
        runtime=lambda wildcards, attempt: attempt * 10,
    params:
        code=code_hash("density_figure"),
        look=lambda wildcards: RUN.look(wildcards.catalog, wildcards.column),
    message:
        "drawing {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/density_figure.py"


# How they were fitted, for papers.
rule density_paper:
    input:
        fit=rules.densities.output.fit,
    output:
        **{name: f"{FOLDER}/{file}" for name, file in TEXT_FILES.items()},
    log:
        f"{LOGS}/paper/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/paper/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        catalog=catalog_of(DENSITIES),
    localrule: True
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 1000,
        runtime=lambda wildcards, attempt: attempt * 10,
    params:
        code=code_hash("paper"),
    message:
        "tabulating {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/density_paper.py"
