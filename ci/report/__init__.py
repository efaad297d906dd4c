"""What people and machines read: the terminal, a job's summary, annotations, SARIF."""
