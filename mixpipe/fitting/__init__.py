"""From cells to fits: `choose` has the public functions; each engine and each estimator has a folder of its own."""
