"""What may keep localserve from serving on this machine, and what mends it."""
