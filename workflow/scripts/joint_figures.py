from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.joint_figures import draw_joint_figures

run_job(
    snakemake,
    draw_joint_figures,
    code=snakemake.params.code,
    fit=snakemake.input.fit,
    members=snakemake.input.members,
    columns=snakemake.input.columns,
    corner=snakemake.output.corner,
    selection=snakemake.output.selection,
    quality=snakemake.output.quality,
    curves=snakemake.output.curves,
    looks=snakemake.params.looks,
)
