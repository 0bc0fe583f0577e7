"""`python -m bimodal`: the command line."""

from bimodal.cli import main

if __name__ == "__main__":
    main()
