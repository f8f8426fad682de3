from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.joint import fit_joint

run_job(
    snakemake,
    fit_joint,
    plan=snakemake.params.plan,
    columns=snakemake.input.columns,
    threads=snakemake.threads,
    **snakemake.output,
)
