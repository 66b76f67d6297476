"""What the service makes of events: as accurate as if it had been told offline, at once, quickly, and nothing lost."""
