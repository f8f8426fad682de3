from mixpipe.pipeline.density_figure import draw_density_figure
from mixpipe.pipeline.job import run_job

run_job(
    snakemake,
    draw_density_figure,
    code=snakemake.params.code,
    fit=snakemake.input.fit,
    densities=snakemake.output.densities,
    look=snakemake.params.look,
)
