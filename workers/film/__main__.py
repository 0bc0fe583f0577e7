"""The process: `python -m workers.film`, started by the supervisor."""

from workers.actor import main
from workers.film.actor import FilmActor

if __name__ == "__main__":
    main(FilmActor)
