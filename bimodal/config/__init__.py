"""config.yaml as typed Structs that forbid unknown keys. config.yaml itself explains the keys."""

from bimodal.config.reading import check_config, config_of, load_config, origin_of, read_config, read_documents
from bimodal.config.schema import Between, Config, CountConfig, ModelsConfig, OutputsConfig, WorkersConfig

__all__ = [
    "Between", "Config", "CountConfig", "ModelsConfig", "OutputsConfig", "WorkersConfig", "check_config", "config_of",
    "load_config", "origin_of", "read_config", "read_documents",
]  # fmt: skip
