"""All numbers of rows at which the method of computation changes, with the reasons for them.

Results on either side of a threshold agree to the precision that docs/method.md states for that threshold.
"""

# The following thresholds apply to Gaussian components of plain values.
# Up to this number the search works on the rows themselves, and so does the end of the certificate; beyond it, both
# work on the points of a sketch.
SEARCH_ROWS = 20_000
# Up to this number the certificate is computed on the rows alone; beyond it, first on a sketch.
CERTIFICATE_ROWS = 4_000
# Up to this number all fits are finished on the rows, not only those that may be chosen, and a certificate is computed.
# For more rows the bound is much looser than the differences that it would have to decide, and takes longer than the
# search. More rounded values that differ in their errors are not integrated unless this is asked for.
FINISHED_ROWS = 100_000
# Up to this number, rows for which no sketch is much smaller are searched without one.
UNSKETCHED_ROWS = 2_000_000
# Largest number of points of the sketch that is searched, and of the finer one on which the fits are refined.
COARSE_POINTS = 30_000
FINE_POINTS = 60_000
# If the sketch that is searched has more points than this, those that lie alone are joined.
CROWDED_POINTS = 10_000
# Up to this number of rows every number of components is searched with full effort.
FULL_SEARCH_ROWS = 3_000

# These apply to components of any family, limits, truncated samples and bins; the second number holds where the
# convolution of a family requires a quadrature for each row. Beyond them, a sketch is searched, and is resampled or
# profiled.
GENERAL_SEARCH_ROWS, QUADRATURE_SEARCH_ROWS = 3_000, 400
GENERAL_ROWS, QUADRATURE_ROWS = 4_000, 1_000

# Up to this number of distinct rows, the sample of rows of any kind contains all of them.
SAMPLED_ROWS = 32_768

# Up to this number of rows catalogs are simulated for p-values; beyond it, their asymptotic limit is used.
SIMULATED_ROWS, SIMULATED_ROWS_QUADRATURE = 4_000, 1_000
# If a component rests on fewer rows than the first number, in catalogs of up to the second, intervals are computed from
# the profile likelihood.
FEW_ROWS, PROFILED_ROWS = 100, 4_000
# Largest number of rows of a catalog for which a likelihood ratio is simulated.
MOST_SIMULATED_ROWS = 10_000_000
# Up to this number of rows the likelihood is also maximised from the moment and histogram estimates, as a check of the
# search.
CHECKED_ROWS = 20_000
# Up to this number of rows a table is held in memory; beyond it, its rows are read in blocks.
MEMORY_ROWS = 1_000_000

# Threads are used from the size at which they save more time than handing over the work takes; no result depends on
# them.
THREADED_CELLS = 2_000
THREADED_DENSITIES = 100_000

# These apply to several columns. Starts of the search race on a sample of at most the first number of rows, and their
# maxima are found on at most the second, from which those of more rows are reached in a few passes.
JOINT_RACE_ROWS, JOINT_SEARCH_ROWS = 2_000, 30_000
# Beyond this number the curvature, for uncertainties, is that of a sample: a difference of about a per cent.
JOINT_CURVATURE_ROWS = 30_000
# Up to this number of rows a bound on the log-likelihood of two columns is computed.
JOINT_CERTIFICATE_ROWS = 4_000
