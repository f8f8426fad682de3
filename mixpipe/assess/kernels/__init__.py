"""The jitted functions of the quality; see `mixpipe.fitting.kernels`."""
