"""What users do while the model serves: kept durably, and known to the next answer."""
