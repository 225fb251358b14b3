"""A model as a graph that needs no PyTorch, and the gate that refuses one which says something else."""
