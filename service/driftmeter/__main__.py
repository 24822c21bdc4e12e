"""`python -m driftmeter` and the `driftmeter` command."""

from driftmeter.cli import main

if __name__ == "__main__":
    main()
