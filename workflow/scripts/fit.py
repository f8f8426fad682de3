from mixpipe.pipeline.fit import refit_column
from mixpipe.pipeline.job import each, run_job

run_job(
    snakemake,
    each,
    task=refit_column,
    logs=snakemake.log,
    common={"threads": snakemake.threads},
    plan=snakemake.params.plan,
    columns=snakemake.params.columns,
    start=snakemake.params.start,
    components=snakemake.output.components,
    selection=snakemake.output.selection,
    estimators=snakemake.output.estimators,
    intervals=snakemake.output.intervals,
    covariance=snakemake.output.covariance,
    bimodality=snakemake.output.bimodality,
    members=snakemake.output.members,
    fit=snakemake.output.fit,
)
