from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.summary import summarise

run_job(
    snakemake,
    summarise,
    code=snakemake.params.code,
    fits=snakemake.input.fits,
    comparisons=snakemake.input.comparisons,
    table=snakemake.output.table,
)
