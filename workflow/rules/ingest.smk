# Files of a release -> a Parquet file with the columns that its fits need; small files are read together in one job.
#
# Jobs are done again when contents, settings or code change, never because of time stamps: the files are `ancient`, and
# `plan` holds their hashes with all else that matters (a catalog unpacked from an archive has an old date, too).
#
# The file is named by what is in it. Snakemake does not look at the plan of a job behind one that it runs, and always
# does it again; so a file that is needed anew is a new file, and fits whose files are there are not behind that job.
# Files that are added to a release are read alone, and what was read before stays in use.
rule ingest:
    input:
        ancient(lambda wildcards: checked_run().ingest_files(**wildcards)),
    output:
        columns=f"{RESULTS}/{{catalog}}/{{release}}/ingest/{{content}}.parquet",
    log:
        f"{LOGS}/ingest/{{catalog}}/{{release}}/{{content}}.log",
    benchmark:
        f"{BENCHMARKS}/ingest/{{catalog}}/{{release}}/{{content}}.tsv"
    conda:
        "../envs/mixpipe.yaml"
    threads: 1
    resources:
        # Read in blocks, except for formats that are read whole.
        mem_mb=lambda wildcards, input, attempt: attempt
        * min(8000, 1000 + int(10 * input.size_mb)),
        runtime=lambda wildcards, input, attempt: attempt
        * (10 + int(input.size_mb / 100)),
    params:
        plan=lambda wildcards: RUN.ingest(**wildcards),
    message:
        "reading {wildcards.catalog} {wildcards.release}"
    script:
        "../scripts/ingest.py"
