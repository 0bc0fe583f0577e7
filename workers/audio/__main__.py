"""The process: `python -m workers.audio`, started by the supervisor."""

from workers.actor import main
from workers.audio.actor import AudioActor

if __name__ == "__main__":
    main(AudioActor)
