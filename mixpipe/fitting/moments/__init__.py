"""Mixtures from the moments of the true values."""
