"""What retraining every night is worth beside live events: a simulated fortnight."""
