"""Rows of several columns and the mixtures that describe them: values, covariances of their errors, gaps."""
