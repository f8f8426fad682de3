"""Linear algebra on one thread, where this is imported before NumPy: the last digits of long sums depend on how many
there are. The kernels have threads of their own, on which nothing depends.
"""

import os

for _library in ("OPENBLAS", "MKL", "BLIS", "VECLIB"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
