"""How a person signs in: credentials, refreshing them, reading those of other programs."""
