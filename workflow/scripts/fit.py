from mixpipe.pipeline.fit import fit_column
from mixpipe.pipeline.job import run_job

run_job(
    snakemake,
    fit_column,
    plan=snakemake.params.plan,
    columns=snakemake.input.columns,
    start=snakemake.input.start,
    components=snakemake.output.components,
    selection=snakemake.output.selection,
    estimators=snakemake.output.estimators,
    intervals=snakemake.output.intervals,
    members=snakemake.output.members,
    fit=snakemake.output.fit,
    threads=snakemake.threads,
)
