"""`bimodal bench`: how near the pipeline comes to the limit of the hardware. Every figure beside one of the same run."""
