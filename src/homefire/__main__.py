"""`python -m homefire` is the same as the `homefire` command."""

from homefire.cli.main import main

if __name__ == "__main__":
    main()
