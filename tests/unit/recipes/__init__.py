"""Unit tests of the recipes."""
