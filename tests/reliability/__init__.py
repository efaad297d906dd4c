"""The fault matrix and the random schedules: what a run that breaks anywhere leaves behind."""
