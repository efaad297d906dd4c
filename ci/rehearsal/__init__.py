"""The change, tried on a copy: traced, undone, compared, reapplied."""
