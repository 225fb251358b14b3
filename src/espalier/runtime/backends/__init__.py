"""The backends, a file each."""
