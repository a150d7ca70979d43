"""The configuration: its schema, the layers it comes from, and where each value was set."""
