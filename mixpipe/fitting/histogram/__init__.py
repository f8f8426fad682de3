"""The estimator `density`: mixtures fitted to the histogram of a column."""
