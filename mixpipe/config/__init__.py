"""The configuration: its value types, its schema, and the line numbers in its file."""
