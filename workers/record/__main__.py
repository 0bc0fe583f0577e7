"""The process: `python -m workers.record`, started by the supervisor."""

from bimodal.workers.actor import main
from bimodal.workers.record.actor import RecordActor

if __name__ == "__main__":
    main(RecordActor)
