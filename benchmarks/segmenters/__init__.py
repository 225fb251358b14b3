"""What the benchmarks of segmenters share: the pictures, the peers, the scores."""
