from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.predict import predict_rows

run_job(
    snakemake,
    predict_rows,
    code=snakemake.params.code,
    plan=snakemake.params.plan,
    fit=snakemake.input.fit,
    members=snakemake.input.members,
    table=snakemake.output.table,
)
