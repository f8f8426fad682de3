"""What a run leaves on disk: tables, the record of a fit, its provenance, and their verification."""
