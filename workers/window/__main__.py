"""The process: `python -m workers.window`, started by the supervisor."""

from bimodal.workers.actor import main
from bimodal.workers.window.actor import WindowActor

if __name__ == "__main__":
    main(WindowActor)
