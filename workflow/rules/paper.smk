# The fits of a release -> what papers show of them: tables of the components, and how they were made.
#
# All columns of a release share a job, which goes by the first one: it takes less time than to start one for each.
rule paper:
    input:
        fit=lambda wildcards: [
            f"{RESULTS}/{catalog}/{release}/{column}/fit.json"
            for catalog, release, column in papers_of_job(wildcards)
        ],
    output:
        **{name: f"{FOLDER}/{file}" for name, file in PAPER_FILES.items()},
    log:
        f"{LOGS}/paper/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/paper/{{catalog}}/{{release}}/{{column}}.tsv"
    wildcard_constraints:
        **ANY_COLUMN,
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
        "tabulating {wildcards.catalog} {wildcards.release}"
    script:
        "../scripts/paper.py"


share_jobs(rules.paper.rule, PAPER_JOBS)
