"""The configuration: value types, schema, and the lines of its file."""
