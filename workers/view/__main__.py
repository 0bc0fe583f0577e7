"""The process: `python -m workers.view`, started by the supervisor."""

from workers.actor import main
from workers.view.actor import ViewActor

if __name__ == "__main__":
    main(ViewActor)
