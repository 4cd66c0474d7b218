"""`python -m kiro`."""

from kiro.cli import main

if __name__ == "__main__":
    main()
