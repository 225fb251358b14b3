"""Shared PyTorch parts: the model base, losses, averaging, and a module as a backend."""
