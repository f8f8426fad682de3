# Two releases of a catalog, one after the other in its list -> what has changed, column by column.
rule compare:
    input:
        old=compared_files(0, "fit.json"),
        new=compared_files(1, "fit.json"),
        old_members=compared_files(0, "members.parquet"),
        new_members=compared_files(1, "members.parquet"),
    output:
        components=f"{RESULTS}/{{catalog}}/compare/{{pair}}/components.csv",
        summary=f"{RESULTS}/{{catalog}}/compare/{{pair}}/summary.csv",
        overlay=[
            report(
                f"{RESULTS}/{{catalog}}/compare/{{pair}}/overlay.png",
                caption="../report/overlay.rst",
                category="{catalog}",
                subcategory="compare",
                labels={"column": "all", "shows": "{pair}"},
            ),
            f"{RESULTS}/{{catalog}}/compare/{{pair}}/overlay.svg",
            f"{RESULTS}/{{catalog}}/compare/{{pair}}/overlay.pdf",
        ],
    log:
        f"{LOGS}/compare/{{catalog}}/{{pair}}.log",
    benchmark:
        f"{BENCHMARKS}/compare/{{catalog}}/{{pair}}.tsv"
    wildcard_constraints:
        catalog=any_of(name.split("/")[0] for name in COMPARISONS),
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt
        * max(1000, int(20 * input.size_mb)),
        runtime=lambda wildcards, input, attempt: attempt
        * (10 + int(0.1 * input.size_mb)),
    params:
        code=code_hash("compare"),
        columns=lambda wildcards: RUN.columns(wildcards.catalog),
        looks=lambda wildcards: RUN.looks(wildcards.catalog),
    message:
        "comparing {wildcards.catalog} {wildcards.pair}"
    script:
        "../scripts/compare.py"


rule joint_compare:
    input:
        old=compared_files(0, "fit.json", of_joints=True),
        new=compared_files(1, "fit.json", of_joints=True),
        old_members=compared_files(0, "members.parquet", of_joints=True),
        new_members=compared_files(1, "members.parquet", of_joints=True),
    output:
        components=f"{RESULTS}/{{catalog}}/compare/{{pair}}/joint/components.csv",
        summary=f"{RESULTS}/{{catalog}}/compare/{{pair}}/joint/summary.csv",
        overlay=[
            report(
                f"{RESULTS}/{{catalog}}/compare/{{pair}}/joint/overlay.png",
                caption="../report/joint_overlay.rst",
                category="{catalog}",
                subcategory="compare",
                labels={"column": "joint", "shows": "{pair}"},
            ),
            f"{RESULTS}/{{catalog}}/compare/{{pair}}/joint/overlay.svg",
            f"{RESULTS}/{{catalog}}/compare/{{pair}}/joint/overlay.pdf",
        ],
    log:
        f"{LOGS}/joint_compare/{{catalog}}/{{pair}}.log",
    benchmark:
        f"{BENCHMARKS}/joint_compare/{{catalog}}/{{pair}}.tsv"
    wildcard_constraints:
        catalog=any_of(name.split("/")[0] for name in JOINT_COMPARISONS),
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt
        * max(1000, int(20 * input.size_mb)),
        runtime=lambda wildcards, input, attempt: attempt
        * (10 + int(0.1 * input.size_mb)),
    params:
        code=code_hash("joint_compare"),
        columns=lambda wildcards: RUN.joints(wildcards.catalog),
        looks=lambda wildcards: RUN.looks(wildcards.catalog),
    message:
        "comparing joint fits of {wildcards.catalog} {wildcards.pair}"
    script:
        "../scripts/joint_compare.py"
