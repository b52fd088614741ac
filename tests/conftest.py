"""Fixtures every test may use."""

import gc
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import pipelines  # noqa: F401  sets how threads wait, before any test imports torch

#: a loaded machine is no reason to fail
settings.register_profile("viba", deadline=None)
settings.load_profile("viba")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips, with its index.csv."""
    folder = Path(os.environ.get("VIBA_CLIPS", ROOT / ".." / "shared" / "clips")).resolve()
    if not (folder / "index.csv").is_file():
        pytest.skip(f"no real clips at {folder}; set VIBA_CLIPS to a folder that has them")
    return folder


class S3:
    """A real S3 server on loopback. It fails each `fail_every`th request, and waits `delay_s` before all of them."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self.calm()
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def calm(self) -> None:
        """No failure, no delay, nothing counted."""
        self.fail_every, self.delay_s, self.failed = 0, 0.0, 0
        self.requests: list[str] = []

    def stop(self) -> None:
        self._server.shutdown()

    def _serve(self, environ, start_response):
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


SECRET = "hush0hush1hush2hush3hush4hush5hush6hush7"


@pytest.fixture
def secret() -> str:
    """What must be nowhere."""
    return SECRET


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    pytest.importorskip("moto", reason="no S3 server: it is in the extra dev")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAVIBATESTTESTTEST")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = S3()
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
        server.stop()


@pytest.fixture
def s3(s3_server: S3) -> Iterator[S3]:
    """The server, calm before and after; `s3.bucket` is the URI of an empty bucket of this test's own."""
    from pyarrow.fs import S3FileSystem

    s3_server.calm()
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    host = s3_server.url.removeprefix("http://")
    options = {"endpoint_override": host, "scheme": "http", "region": "us-east-1", "allow_bucket_creation": True}
    S3FileSystem(**options).create_dir(name)
    s3_server.bucket = f"s3://{name}"
    s3_server.calm()
    yield s3_server
    s3_server.calm()


def pytest_unconfigure() -> None:
    # Hypothesis leaves a function in gc.callbacks, which outlives the modules and holds them all: DuckDB's
    # classes among them, which nanobind then reports as leaked
    gc.callbacks[:] = [each for each in gc.callbacks if not each.__module__.startswith("hypothesis.")]
