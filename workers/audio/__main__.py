"""The process: `python -m workers.audio`, started by the supervisor."""

from bimodal.workers.actor import main
from bimodal.workers.audio.actor import AudioActor

if __name__ == "__main__":
    main(AudioActor)
