"""What networks do when they run, beside what their plan says."""
