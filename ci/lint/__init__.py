"""What is dangerous in a migration, by its text and by the catalog."""
