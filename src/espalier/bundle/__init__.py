"""The deployable model: read, write and verify its format. Needs no PyTorch."""
