from mixpipe.pipeline.compare import compare_releases
from mixpipe.pipeline.job import run_job

run_job(
    snakemake,
    compare_releases,
    code=snakemake.params.code,
    old=snakemake.input.old,
    new=snakemake.input.new,
    components=snakemake.output.components,
    summary=snakemake.output.summary,
    overlay=snakemake.output.overlay,
    looks=snakemake.params.looks,
)
