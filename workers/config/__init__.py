"""config.yaml as typed models that forbid unknown keys. What the keys mean stands in config.yaml itself."""

from bimodal.workers.config.inference import Between, CountConfig, ModelsConfig, RuntimeConfig, WorkersConfig
from bimodal.workers.config.outputs import OutputsConfig, RecordConfig, ViewConfig, WindowConfig
from bimodal.workers.config.reading import check_config, load_config, read_config
from bimodal.workers.config.streams import StreamConfig
from bimodal.workers.config.whole import Config

__all__ = [
    "Between", "Config", "CountConfig", "ModelsConfig", "OutputsConfig", "RecordConfig", "RuntimeConfig",
    "StreamConfig", "ViewConfig", "WindowConfig", "WorkersConfig", "check_config", "load_config", "read_config",
]  # fmt: skip
