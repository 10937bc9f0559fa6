"""A local stand-in for the Hugging Face hub: it answers 200, 401, 403 and 404 as the hub does, in both formats."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import pytest
import safetensors.torch
import torch

from pixnet_sd.nn.encoders.foundation import FOUNDATION, Foundation
from pixnet_sd.nn.encoders.vit import create_vit

MEMBER, STRANGER = "hf_member", "hf_stranger"
"""Tokens that have access to everything, and to nothing that is gated."""
DEPTH, DIM = 4, 32


@dataclass
class Hub:
    """Files by repository, revision and name; `asked` are the paths of all requests."""

    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def publish(self, row: Foundation, file: str, state: dict[str, torch.Tensor]) -> str:
        """Publish a state in the format of the file's name; return its sha256."""
        content = safetensors.torch.save(state) if file.endswith(".safetensors") else pickled(state)
        self.files[row.hub, row.revision, file] = content
        if row.gated:
            self.gated.add(row.hub)
        return hashlib.sha256(content).hexdigest()

    def answer(self, hub: str, revision: str, file: str, token: str | None) -> tuple[int, dict[str, str]]:
        """Status and headers, as the hub gives them."""
        if token not in (None, MEMBER, STRANGER):
            return 401, {"X-Error-Message": "Invalid credentials in Authorization header"}
        if hub not in {key[0] for key in self.files}:
            return (404 if token else 401), {"X-Error-Code": "RepoNotFound"}
        if hub in self.gated and token != MEMBER:
            return (403 if token else 401), {"X-Error-Code": "GatedRepo"}
        if (hub, revision) not in {key[:2] for key in self.files}:
            return 404, {"X-Error-Code": "RevisionNotFound"}
        if (hub, revision, file) not in self.files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit(revision)}
        content = self.files[hub, revision, file]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return 200, {"ETag": etag, "X-Repo-Commit": commit(revision), "Content-Length": str(len(content))}


def commit(revision: str) -> str:
    return revision if len(revision) == 40 else "0" * 40


def pickled(state: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            owner, name, _, revision, file = self.path.strip("/").split("/", 4)
            hub.asked.append(self.path)
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            status, headers = hub.answer(f"{owner}/{name}", revision, file, token)
            self.send_response(status)
            for key, value in ({"Content-Length": "0"} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET" and status == 200:
                self.wfile.write(hub.files[f"{owner}/{name}", revision, file])

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


@contextmanager
def serve(hub: Hub) -> Iterator[tuple[str, Hub]]:
    """Serve on a free port of this machine, in a thread; yield the address, and the hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def point_to(address: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT and HF_HOME do when they are set before Python starts; no token."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        patch.delenv(name, raising=False)
    patch.setenv("NO_PROXY", "127.0.0.1")
    constants = huggingface_hub.constants
    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))


def tiny_state(row: Foundation) -> dict[str, torch.Tensor]:
    """Random weights of a row's network at a tiny size, in timm's names."""
    model = create_vit(row, depth=DEPTH, dim=DIM, window_px=row.window_px)
    prefix = "trunk." if row.name == "conch-v1.5" else ""
    return {f"{prefix}{key}": value for key, value in model.state_dict().items()}


def publish_tiny(hub: Hub, patch: pytest.MonkeyPatch, name: str, file: str | None = None) -> dict[str, torch.Tensor]:
    """Publish a row at a tiny size, under its own file's name or another, and pin what was published."""
    row, state = FOUNDATION[name], tiny_state(FOUNDATION[name])
    sha256 = hub.publish(row, file or row.file, state)
    patch.setitem(FOUNDATION, name, replace(row, sha256=sha256))
    return state
