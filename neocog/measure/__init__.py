"""What the plan predicts, measured by running it."""
