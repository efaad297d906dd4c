"""Backups: taken, listed, verified, restored. Where one is kept is the store's business.

A backup is one pg_dump archive, or several of one snapshot, and a manifest, written last: without
it there is no backup. The results of verifying it lie beside the manifest.
"""
