"""GitHub as Windlass uses it: its API, its settings, pull requests, the remote."""
