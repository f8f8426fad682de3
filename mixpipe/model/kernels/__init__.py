"""The jitted functions of the sketch; see `mixpipe.fitting.kernels`."""

from mixpipe.base.caches import prepare_kernels

prepare_kernels()
