"""`bimodal bench`: the pipeline against the limit of the hardware, each figure compared with one of the same run."""
