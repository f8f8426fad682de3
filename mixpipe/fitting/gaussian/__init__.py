"""The engine for Gaussian components and plain values: search, ascent, certificate, and fits on sketches and rows."""
