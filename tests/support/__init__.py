"""What several test modules need: a clock to turn, Kiro bodies, frames, requests to the emulator."""
