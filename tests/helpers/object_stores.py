"""A server that speaks S3, on this machine and in memory."""

from functools import cache

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}


@cache
def s3_environment():
    """The variables that lead to a server with a bucket `golds`.

    All tests of a process share the server, as fsspec remembers its address. It ends with the
    process.
    """
    pytest.importorskip("s3fs", reason="pip install 'mubench[s3]'")
    servers = pytest.importorskip("moto.server", reason="no local server that speaks S3")
    import boto3

    server = servers.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1",
        aws_access_key_id="a", aws_secret_access_key="b",
    )  # fmt: skip
    client.create_bucket(Bucket="golds")
    return CREDENTIALS | {"AWS_ENDPOINT_URL": address}
