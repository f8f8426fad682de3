from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.members import write_fits_members

run_job(
    snakemake,
    write_fits_members,
    code=snakemake.params.code,
    fit=snakemake.input.fit,
    members=snakemake.input.members,
    table=snakemake.output.table,
)
