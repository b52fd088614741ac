"""A real S3 server on this machine that fails and dawdles when told to: moto's, for tests and `bench.faults`."""

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from pyarrow.fs import S3FileSystem
from werkzeug.serving import make_server

#: what must be in no table, log or page
SECRET: Final = "hush0hush1hush2hush3hush4hush5hush6hush7"


class Server:
    """It fails each `fail_every`th request, and waits `delay_s` before all of them. It lives as long as its process."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self.calm()
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self._host = f"127.0.0.1:{self._server.server_port}"
        #: what who asks it has to have
        self.environment: Final = {
            "AWS_ENDPOINT_URL": f"http://{self._host}",
            "AWS_ACCESS_KEY_ID": "AKIAVIBATESTTESTTEST",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def calm(self) -> None:
        """No failure, no delay, nothing counted."""
        self.fail_every, self.delay_s, self.failed = 0, 0.0, 0
        self.requests: list[str] = []

    def new_bucket(self) -> str:
        """The URI of an empty bucket; `environment` has to be this process's."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        options: dict[str, Any] = {"endpoint_override": self._host, "scheme": "http", "region": "us-east-1"}
        S3FileSystem(**options, allow_bucket_creation=True).create_dir(name)
        return f"s3://{name}"

    def stop(self) -> None:
        """It answers no more."""
        self._server.shutdown()

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            fails = self.fail_every > 0 and len(self.requests) % self.fail_every == 0
            self.failed += fails
        time.sleep(self.delay_s)
        if fails:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Service Unavailable", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]
        return self._app(environ, start_response)
