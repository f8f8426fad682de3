"""Numbers of rows at which another way of computing begins: all of them, and why they are there.

Results on either side of a threshold agree to the precision that docs/method.md states for it.
"""

# Gaussian components, values only.
# Up to here the search works on the rows themselves, beyond on the points of a sketch.
SEARCH_ROWS = 20_000
# Up to here the certificate is that of the rows, beyond that of a sketch.
CERTIFICATE_ROWS = 4_000
# Up to here all fits are finished on the rows, not only those that may be chosen, and there is a certificate: of more
# rows the bound is far above what it would have to tell apart, and takes longer than the search.
FINISHED_ROWS = 100_000
# Up to here rows that fit into no sketch that is much smaller are searched as they are.
UNSKETCHED_ROWS = 2_000_000
# Points of the sketch that is searched, and of the one that fits are brought to.
COARSE_POINTS = 30_000
FINE_POINTS = 60_000
# Up to here every number of components is searched with the full effort.
FULL_SEARCH_ROWS = 3_000

# Components of any family, limits, bounds and bins; the second number holds where the convolution of a family is a
# quadrature for each row. Beyond, a sketch is searched, and resampled or profiled.
GENERAL_SEARCH_ROWS, QUADRATURE_SEARCH_ROWS = 3_000, 400
GENERAL_ROWS, QUADRATURE_ROWS = 4_000, 1_000

# Up to here catalogs are simulated for p-values; beyond, their limit for many rows serves.
SIMULATED_ROWS, SIMULATED_ROWS_QUADRATURE = 4_000, 1_000
# Rows of a catalog that is simulated for a likelihood ratio.
MOST_SIMULATED_ROWS = 10_000_000
# Up to here the likelihood is also climbed from the estimates by moments and by histogram: a check of the search.
CHECKED_ROWS = 20_000
# Up to here a table is held in memory; beyond, its rows are read in blocks, where the engine can.
MEMORY_ROWS = 1_000_000

# Threads begin where handing the work over takes less time than it saves; no number depends on them.
THREADED_CELLS = 2_000
THREADED_DENSITIES = 100_000
