"""config.yaml as typed Structs that forbid unknown keys. config.yaml itself explains the keys."""

from bimodal.config.reading import check_config, load_config, read_config
from bimodal.config.schema import Between, Config, CountConfig, ModelsConfig, OutputsConfig, WorkersConfig

__all__ = [
    "Between", "Config", "CountConfig", "ModelsConfig", "OutputsConfig", "WorkersConfig", "check_config", "load_config",
    "read_config",
]  # fmt: skip
