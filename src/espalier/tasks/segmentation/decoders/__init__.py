"""Raw outputs → `SegmentMap`: a file for each decoder and version, which never changes once a bundle used it."""
