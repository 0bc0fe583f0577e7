"""The process: `python -m workers.capture`, started by the supervisor."""

from workers.actor import main
from workers.capture.actor import CaptureActor

if __name__ == "__main__":
    main(CaptureActor)
