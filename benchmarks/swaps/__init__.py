"""Changes of the model under load: failed requests, mixed answers, latency, memory."""
