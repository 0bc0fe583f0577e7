"""`bimodal bench`: how near the pipeline comes to the limit of the hardware, each figure beside one of the same run."""
