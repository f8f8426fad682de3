# mixpipe: Gaussian mixtures for catalog columns with per-row measurement errors. The workflow is in workflow/Snakefile.
include: "workflow/Snakefile"
