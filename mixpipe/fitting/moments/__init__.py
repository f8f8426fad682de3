"""The estimator `moments`: mixtures from the moments of the true values."""
