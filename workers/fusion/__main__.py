"""The process: `python -m workers.fusion`, started by the supervisor."""

from workers.actor import main
from workers.fusion.actor import FusionActor

if __name__ == "__main__":
    main(FusionActor)
