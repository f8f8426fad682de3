"""The stages of the workflow: what each job does, from files to files. One module per stage, named as its rule."""

import mixpipe.base.blas  # noqa: F401  (before NumPy)
