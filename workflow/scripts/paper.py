from mixpipe.pipeline.job import each, run_job
from mixpipe.pipeline.paper import write_paper_files

run_job(
    snakemake,
    each,
    task=write_paper_files,
    logs=snakemake.log,
    common={"code": snakemake.params.code},
    fit=snakemake.input.fit,
    **snakemake.output,
)
