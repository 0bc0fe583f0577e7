"""config.yaml as typed models that forbid unknown keys. What the keys mean stands in config.yaml itself."""

from bimodal.config.reading import check_config, load_config, read_config
from bimodal.config.schema import (
    Between,
    Config,
    CountConfig,
    ModelsConfig,
    OutputsConfig,
    RecordConfig,
    RuntimeConfig,
    StreamConfig,
    ViewConfig,
    WindowConfig,
    WorkersConfig,
)

__all__ = [
    "Between", "Config", "CountConfig", "ModelsConfig", "OutputsConfig", "RecordConfig", "RuntimeConfig",
    "StreamConfig", "ViewConfig", "WindowConfig", "WorkersConfig", "check_config", "load_config", "read_config",
]  # fmt: skip
