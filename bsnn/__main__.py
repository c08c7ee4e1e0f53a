"""``python -m bsnn`` is the command ``bsnn``."""

from bsnn.cli import main

if __name__ == "__main__":
    main()
