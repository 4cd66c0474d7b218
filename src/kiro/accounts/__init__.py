"""Whose turn it is: accounts, their health, and a fresh access for each."""
