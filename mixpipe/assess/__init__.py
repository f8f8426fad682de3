"""The assessment of fits: quality, intervals, bootstrap, profiles, simulated catalogs."""
