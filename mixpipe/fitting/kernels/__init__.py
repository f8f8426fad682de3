"""The jitted functions: they take arrays and numbers, import only math, numpy and numba, and trust their callers."""
