"""Runs a model where PyTorch need not be installed: the predictor, and the backends that execute a graph."""
