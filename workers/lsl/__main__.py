"""The process: `python -m workers.lsl`, started by the supervisor."""

from bimodal.workers.actor import main
from bimodal.workers.lsl.actor import LslActor

if __name__ == "__main__":
    main(LslActor)
