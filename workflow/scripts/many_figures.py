from mixpipe.pipeline.figures import draw_figures
from mixpipe.pipeline.job import each, run_job


def pairs(paths):
    return list(zip(paths[::2], paths[1::2], strict=True))


run_job(
    snakemake,
    each,
    task=draw_figures,
    common={"code": snakemake.params.code},
    fit=snakemake.input.fits,
    members=snakemake.input.members,
    mixture=pairs(snakemake.output.mixture),
    selection=pairs(snakemake.output.selection),
    classes=pairs(snakemake.output.classes),
    quality=pairs(snakemake.output.quality),
    estimators=pairs(snakemake.output.estimators),
    curves=snakemake.output.curves,
)
