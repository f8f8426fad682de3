# The same as in fit.smk for catalogs of many columns: one job for several of a release. Their paths are without
# wildcards: Snakemake compares a file with all patterns that begin alike.
for place, (catalog, release, number, batch) in enumerate(BATCHES):
    folder = f"{RESULTS}/{catalog}/{release}"
    job = f"{catalog}/{release}/{batch_name(number)}"
    columns = [(catalog, release, column) for column in batch]
    what = f"{catalog} {release} {batch[0]} to {batch[-1]}"

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
