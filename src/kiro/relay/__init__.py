"""One request, from ask to log row."""
