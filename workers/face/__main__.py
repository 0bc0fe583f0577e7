"""The process: `python -m workers.face`, started by the supervisor."""

from workers.actor import main
from workers.face.actor import FaceActor

if __name__ == "__main__":
    main(FaceActor)
