from mixpipe.pipeline.account import account_release
from mixpipe.pipeline.job import run_job

run_job(
    snakemake,
    account_release,
    code=snakemake.params.code,
    fits=snakemake.input.fits,
    table=snakemake.output.table,
    ingest=snakemake.params.ingest,
    ingested=snakemake.params.ingested,
)
