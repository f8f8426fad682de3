from mixpipe.pipeline.densities import fit_density_column
from mixpipe.pipeline.job import run_job

run_job(
    snakemake,
    fit_density_column,
    plan=snakemake.params.plan,
    densities=snakemake.output.densities,
    fit=snakemake.output.fit,
    threads=snakemake.threads,
)
