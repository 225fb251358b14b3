"""Start weights: records and licences, the ladder of each task, the cache, and where weights come from."""
