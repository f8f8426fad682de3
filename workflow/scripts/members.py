from mixpipe.pipeline.job import each, run_job
from mixpipe.pipeline.members import write_fits_members

run_job(
    snakemake,
    each,
    task=write_fits_members,
    logs=snakemake.log,
    common={"code": snakemake.params.code},
    fit=snakemake.input.fit,
    members=snakemake.input.members,
    table=snakemake.output.table,
)
