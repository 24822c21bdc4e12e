"""What was accepted, on disk before it is acknowledged: segments, snapshots, blobs, recovery, archive."""
