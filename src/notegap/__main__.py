"""`python -m notegap`."""

from notegap.cli import run

if __name__ == "__main__":
    run()
