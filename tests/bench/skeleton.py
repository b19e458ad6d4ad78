"""The least that a command line on click and ZeroMQ takes: ask once, print the reply. Run as a script."""

import json
import os
import sys

import click


@click.command()
@click.argument("path")
def main(path: str) -> None:
    import zmq

    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.connect("ipc://" + path)
    request = {"id": os.urandom(8).hex(), "cmd": "ping", "args": {}, "deadline_ms": 1000, "client": "skeleton"}
    socket.send_multipart([b"botd/1", json.dumps(request).encode()])
    print(json.loads(socket.recv_multipart()[-1]))
    sys.stdout.flush()
    os._exit(0)


main()
