"""`python -m sonod` is the `sonod` command."""

from sonod.daemon.cli import main

if __name__ == "__main__":
    main()
