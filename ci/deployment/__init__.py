"""A deployment, step by step: what each step is given, does and undoes, and the journal."""
