"""config.yaml as typed models that forbid unknown keys. What the keys mean stands in config.yaml itself."""

from workers.config.inference import Between, CountConfig, ModelsConfig, RuntimeConfig, WorkersConfig
from workers.config.outputs import OutputsConfig, RecordConfig, ViewConfig, WindowConfig
from workers.config.reading import check_config, load_config, read_config
from workers.config.streams import StreamConfig
from workers.config.whole import Config

__all__ = [
    "Between", "Config", "CountConfig", "ModelsConfig", "OutputsConfig", "RecordConfig", "RuntimeConfig",
    "StreamConfig", "ViewConfig", "WindowConfig", "WorkersConfig", "check_config", "load_config", "read_config",
]  # fmt: skip
