"""An object store for tests: moto's server of S3 on the loopback."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

BUCKET = "study"


@contextlib.contextmanager
def object_server() -> Iterator[Any]:
    """Run the server with one bucket, and have this process and its children use it; gives its file system."""
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    ours = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        system = fsspec.filesystem("s3", skip_instance_cache=True)
        system.mkdir(BUCKET)
        yield system
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        fsspec.filesystem("s3").clear_instance_cache()
        server.stop()
