"""The engine for mixtures of any family, fitted to values, limits, bins and truncated samples."""
