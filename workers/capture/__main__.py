"""The process: `python -m workers.capture`, started by the supervisor."""

from bimodal.workers.actor import main
from bimodal.workers.capture.actor import CaptureActor

if __name__ == "__main__":
    main(CaptureActor)
