"""The process: `python -m workers.replay`, started by `bimodal replay`."""

from workers.actor import main
from workers.replay.actor import ReplayActor

if __name__ == "__main__":
    main(ReplayActor)
