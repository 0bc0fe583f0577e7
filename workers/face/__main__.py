"""The process: `python -m workers.face`, started by the supervisor."""

from bimodal.workers.actor import main
from bimodal.workers.face.actor import FaceActor

if __name__ == "__main__":
    main(FaceActor)
