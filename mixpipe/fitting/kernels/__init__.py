"""The jitted functions: they take arrays and numbers, import only math, numpy and numba, and trust their callers."""

from mixpipe.base.caches import prepare_kernels

prepare_kernels()
