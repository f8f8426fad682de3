from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.report import render_report

run_job(
    snakemake,
    render_report,
    code=snakemake.params.code,
    command=snakemake.params.command,
    config=snakemake.params.config,
    fits=snakemake.input.fits,
    figures=snakemake.input.figures,
    curves=snakemake.input.curves,
    comparisons=snakemake.input.comparisons,
    page=snakemake.output.page,
)
