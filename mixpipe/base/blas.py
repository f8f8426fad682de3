"""Restriction of linear algebra to one thread, if this module is imported before NumPy.

The last digits of long sums depend on the number of BLAS threads. The kernels have their own threads, on which no
result depends.
"""

import os

for _library in ("OPENBLAS", "MKL", "BLIS", "VECLIB"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
