"""
`python -m stopsearch` is `stopsearch`.
"""

from stopsearch.cli import main

if __name__ == "__main__":
    main()
