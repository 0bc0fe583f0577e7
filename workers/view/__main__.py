"""The process: `python -m workers.view`, started by the supervisor."""

from bimodal.workers.actor import main
from bimodal.workers.view.actor import ViewActor

if __name__ == "__main__":
    main(ViewActor)
