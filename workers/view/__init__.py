"""The live page: what people see of the streams and the processes, in a browser."""
