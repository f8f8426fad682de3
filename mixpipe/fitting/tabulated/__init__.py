"""Mixtures fitted to densities that are tabulated on a grid, one for each row of a catalog."""
