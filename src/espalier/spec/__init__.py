"""The typed, frozen description of one experiment: YAML on disk, pydantic in memory, JSON Schema on the wire."""
