"""The config of what is measured: it stands alone, with nobody else's addresses, files or streams; and its sizes."""

from __future__ import annotations

from bimodal.config import Between, Config, OutputsConfig, ViewConfig
from bimodal.config.schema import NetworkConfig
from bimodal.models.cuda import usable_gpus
from bimodal.supervisor.processes import Sizes, sizes


def alone(config: Config, faces: int | None = None) -> Config:
    """Its models and settings, with no output but the event bus of its own session, and no worker of another machine.

    Args:
        faces: face workers; None takes the config's number, the most of them where it follows the load.
    """
    workers = config.workers
    if faces is None and isinstance(workers.face.count, Between):
        faces = workers.face.count.max
    if faces is not None:
        workers = workers.model_copy(update={"face": workers.face.model_copy(update={"count": faces})})
    return config.model_copy(
        update={
            "workers": workers,
            "outputs": OutputsConfig(view=ViewConfig(enabled=False)),  # type: ignore[call-arg]
            "network": NetworkConfig(),
        }
    )


def sizes_alone(config: Config, cores: int) -> Sizes:
    """How many workers with how many threads each a measured system of this config has on so many cores."""
    gpus = usable_gpus(config.runtime.provider)
    return sizes(alone(config).workers, config.runtime.threads, cores, gpus)


def most_face_workers(config: Config, cores: int) -> int:
    """As many as can work at the same time: one a core, and on a GPU as many as the config asks for, since they would
    only take turns there."""
    return sizes_alone(config, cores).face if usable_gpus(config.runtime.provider) else cores
