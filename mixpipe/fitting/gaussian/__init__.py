"""The engine for Gaussian components and plain values: search, ascent, certificate, sketch and rows."""
