"""The process: `python -m workers.lsl`, started by the supervisor."""

from workers.actor import main
from workers.lsl.actor import LslActor

if __name__ == "__main__":
    main(LslActor)
