"""Statements that run in batches: what can be decided, and what runs them."""
