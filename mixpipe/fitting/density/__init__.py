"""Mixtures fitted to the histogram of a column."""
