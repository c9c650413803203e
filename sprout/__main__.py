"""Lets `python -m sprout` be the command."""

from sprout.cli.main import entry

if __name__ == "__main__":
    entry()
