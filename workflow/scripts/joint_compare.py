from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.joint_compare import compare_joint_fits

run_job(
    snakemake,
    compare_joint_fits,
    code=snakemake.params.code,
    old=snakemake.input.old,
    new=snakemake.input.new,
    components=snakemake.output.components,
    summary=snakemake.output.summary,
    overlay=snakemake.output.overlay,
    looks=snakemake.params.looks,
)
