# A release's files -> one Parquet file with the columns that one fit needs.
#
# Jobs are done again when contents, settings or code change, never because of time stamps: the files are `ancient`, and
# `plan` holds their hashes with all else that matters (a catalog unpacked from an archive has an old date, too).
#
# One job for each column, not one for the release: Snakemake does not look at the plan of a job behind one that it
# runs, so whatever is done again must concern everything behind it.
rule ingest:
    input:
        ancient(release_files),
    output:
        columns=f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/columns.parquet",
    log:
        f"{LOGS}/ingest/{{catalog}}/{{release}}/{{column}}.log",
    benchmark:
        f"{BENCHMARKS}/ingest/{{catalog}}/{{release}}/{{column}}.tsv"
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt
        * max(1000, int(10 * input.size_mb)),
        runtime=lambda wildcards, input, attempt: attempt
        * (10 + int(input.size_mb / 100)),
    params:
        plan=lambda wildcards: RUN.ingest(**wildcards),
    message:
        "reading {wildcards.catalog} {wildcards.release} {wildcards.column}"
    script:
        "../scripts/ingest.py"
