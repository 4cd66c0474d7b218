"""What is said: conversations, the events of an answer, token estimates. No JSON documents, no I/O, no Kiro."""
