"""What the benchmarks of detectors share: the pictures, the peers, a training that is paid in CPU time, the scores."""
