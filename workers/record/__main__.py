"""The process: `python -m workers.record`, started by the supervisor."""

from workers.actor import main
from workers.record.actor import RecordActor

if __name__ == "__main__":
    main(RecordActor)
