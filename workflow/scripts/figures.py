from mixpipe.pipeline.figures import draw_figures
from mixpipe.pipeline.job import each, run_job

run_job(
    snakemake,
    each,
    task=draw_figures,
    logs=snakemake.log,
    common={"code": snakemake.params.code},
    fit=snakemake.input.fit,
    members=snakemake.input.members,
    mixture=snakemake.output.mixture,
    selection=snakemake.output.selection,
    classes=snakemake.output.classes,
    quality=snakemake.output.quality,
    estimators=snakemake.output.estimators,
    curves=snakemake.output.curves,
    look=snakemake.params.look,
)
