"""What stays on this computer: plain blocking functions."""
