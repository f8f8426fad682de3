"""What is known about a fit: quality, intervals, bootstrap, profiles, simulated catalogs."""
