"""The process: `python -m workers.fusion`, started by the supervisor."""

from bimodal.workers.actor import main
from bimodal.workers.fusion.actor import FusionActor

if __name__ == "__main__":
    main(FusionActor)
