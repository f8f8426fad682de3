"""Mixtures of any family, fitted to values, limits and truncated samples."""
