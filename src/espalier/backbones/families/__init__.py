"""The families of encoders, a folder each."""
