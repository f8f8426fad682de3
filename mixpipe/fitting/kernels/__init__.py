"""Every jitted function. They take arrays and numbers, import math, numpy and numba only, and trust their caller."""
