from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.manifest import record_run

run_job(
    snakemake,
    record_run,
    code=snakemake.params.code,
    fits=snakemake.input.fits,
    others=snakemake.input.others,
    config=snakemake.params.config,
    plans=snakemake.params.plans,
    manifest=snakemake.output.manifest,
)
