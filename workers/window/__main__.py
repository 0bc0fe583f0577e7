"""The process: `python -m workers.window`, started by the supervisor."""

from workers.actor import main
from workers.window.actor import WindowActor

if __name__ == "__main__":
    main(WindowActor)
