"""Settings: one strict schema, four layers, and the origin of every value."""
