from mixpipe.pipeline.job import run_job
from mixpipe.pipeline.paper import write_paper_files

run_job(snakemake, write_paper_files, code=snakemake.params.code, fit=snakemake.input.fit, **snakemake.output)
