# mixpipe: Gaussian mixtures for catalog columns with per-row measurement errors. The workflow is in workflow/Snakefile.
include: "workflow/Snakefile"


rule everything:
    default_target: True
    input:
        rules.all.input,
