from mixpipe.pipeline.ingest import ingest_release
from mixpipe.pipeline.job import run_job

run_job(snakemake, ingest_release, plan=snakemake.params.plan, columns=snakemake.output.columns)
