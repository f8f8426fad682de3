from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.report import render_report

run_job(
    snakemake.log[0],
    render_report,
    code=snakemake.params.code,
    command=snakemake.params.command,
    fits=snakemake.input.fits,
    figures=snakemake.input.figures,
    page=snakemake.output.page,
)
