"""`diantu page`."""

from __future__ import annotations

import importlib.util
import socket
from importlib.resources import files

from ...datasets.errors import InputError

_HOST = "127.0.0.1"
# Nothing is sent to Streamlit, no question is asked at the first start, and no error shows a traceback in the browser.
_SETTINGS = {
    "server.address": _HOST,
    "browser.serverAddress": _HOST,
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "64",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "global.developmentMode": "false",
}


def run(gallery: str, port: int = 8501, encoder: str | None = None, device: str = "auto") -> int:
    """Shows a small page over one gallery, to search by a text, an uploaded image or the path of an image.

    The page answers on this machine only, and reads images of the person who started it. For others, see diantu serve.

    Args:
        gallery: the gallery's folder.
        port: the port on 127.0.0.1.
        encoder: the gallery's encoder, if its weights have moved since the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise InputError('diantu page needs streamlit, which is not installed; run: pip install "diantu[page]"')
    from ...search import Gallery

    Gallery.open(gallery)  # says here, not in the browser, what is wrong with it
    _check_port(port)
    from streamlit.web import cli

    script = files("diantu.search.streamlit_page") / "script.py"
    settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "server.port": str(port)}.items()]
    cli.main(["run", str(script), *settings, "--", gallery, encoder or "", device], standalone_mode=False)
    return 0


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise InputError(f"port is {port}; give one from 1 to 65535")
    try:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Streamlit's server does
            sock.bind((_HOST, port))
    except OSError as error:
        raise InputError(
            f"port {port} of {_HOST} cannot be used ({error.strerror}); give another one with --port"
        ) from error
