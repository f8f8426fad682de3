"""The jitted functions of the sketch; see `mixpipe.fitting.kernels`."""
