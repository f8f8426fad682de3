from mixpipe.pipeline.ingest import ingest_column
from mixpipe.pipeline.job import run_job

run_job(snakemake.log[0], ingest_column, plan=snakemake.params.plan, columns=snakemake.output.columns)
