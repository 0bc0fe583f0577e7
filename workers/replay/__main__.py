"""The process: `python -m workers.replay`, started by `bimodal replay`."""

from bimodal.workers.actor import main
from bimodal.workers.replay.actor import ReplayActor

if __name__ == "__main__":
    main(ReplayActor)
