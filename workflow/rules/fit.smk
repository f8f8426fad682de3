# A column -> mixtures of 1, 2, ... components, and the figures of the chosen one.
#
# A fit also climbs from that of the release before. It waits for it only if it has to be done itself: a release that
# changes must not do those after it again, and Snakemake does not look at jobs behind one that it runs, not even behind
# an `ancient` file. So the start is a file of its own, and for a fit that is there it has nothing that makes it: the job
# below then lacks its input, and Snakemake takes the file as it is.
PUT_TOGETHER = "cat {input:q} > {output:q}.part 2> {log:q} && mv {output:q}.part {output:q} 2>> {log:q}"


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


# The same for many columns: one job for several of a release. Their paths are without wildcards: Snakemake compares a file
# with all patterns that begin alike.
for place, (catalog, release, number, batch) in enumerate(BATCHES):
    folder = f"{RESULTS}/{catalog}/{release}"
    job = f"{catalog}/{release}/{batch_name(number)}"
    columns = [(catalog, release, column) for column in batch]
    what = f"{catalog} {release} {batch[0]} to {batch[-1]}"

    rule:
        name:
            f"start_batch_{place}"
        input:
            lambda wildcards, place=(
                catalog,
                release,
                batch,
            ): checked_run().start_sources(*place)
            or "(kept)",
        output:
            f"{folder}/starts/{batch_name(number)}.json",
        log:
            f"{LOGS}/start/{job}.log",
        localrule: True
        conda:
            "../envs/mixpipe.yaml"
        message:
            f"taking the fits before {what} for a start"
        shell:
            PUT_TOGETHER

    rule:
        name:
            f"fit_batch_{place}"
        input:
            parts=lambda wildcards, columns=columns: sorted(
                {
                    part
                    for column in columns
                    for part in checked_run().ingested(*column)
                }
            ),
            starts=lambda wildcards, columns=columns: sorted(
                {start for column in columns for start in checked_run().start(*column)}
            ),
        output:
            # A fit that is there and as planned is left as it is.
            **gathered(
                {name: update(file) for name, file in fit_files(*column).items()}
                for column in columns
            ),
        log:
            f"{LOGS}/fit/{job}.log",
        benchmark:
            f"{BENCHMARKS}/fit/{job}.tsv"
        conda:
            "../envs/mixpipe.yaml"
        threads: 1
        resources:
            mem_mb=lambda wildcards, input, attempt: attempt
            * min(4000, 1000 + int(20 * input.size_mb)),
            runtime=lambda wildcards, input, attempt: attempt
            * (30 + int(2 * input.size_mb)),
        params:
            plans=lambda wildcards, columns=columns: [
                RUN.fit(*column) for column in columns
            ],
            columns=lambda wildcards, columns=columns: [
                checked_run().ingested(*column) for column in columns
            ],
            starts=lambda wildcards, columns=columns: [
                checked_run().start(*column) for column in columns
            ],
        message:
            f"fitting {what}"
        script:
            "../scripts/fits.py"

    rule:
        name:
            f"figures_batch_{place}"
        input:
            fits=[f"{folder}/{column}/fit.json" for column in batch],
            members=[f"{folder}/{column}/members.parquet" for column in batch],
        output:
            **gathered(figure_files(*column) for column in columns),
        log:
            f"{LOGS}/figures/{job}.log",
        benchmark:
            f"{BENCHMARKS}/figures/{job}.tsv"
        conda:
            "../envs/mixpipe.yaml"
        threads: 1
        resources:
            abreast=1,
            mem_mb=lambda wildcards, input, attempt: attempt
            * min(4000, 1000 + int(20 * input.size_mb)),
            runtime=lambda wildcards, attempt: attempt * 30,
        params:
            code=code_hash("figures"),
        message:
            f"drawing {what}"
        script:
            "../scripts/many_figures.py"
