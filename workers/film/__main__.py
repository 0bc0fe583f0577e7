"""The process: `python -m workers.film`, started by the supervisor."""

from bimodal.workers.actor import main
from bimodal.workers.film.actor import FilmActor

if __name__ == "__main__":
    main(FilmActor)
