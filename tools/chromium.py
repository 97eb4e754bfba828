"""Drives a headless Chromium over a pair of pipes, for tests of pages and for pictures of them.

Nothing but the standard library: Chromium speaks its DevTools protocol as JSON, a null byte after each message, on file
descriptors 3 and 4. It is told that there is no network but 127.0.0.1.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Literal

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The shell comes first: it starts fastest."""

FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # it cannot have one as root, or in most containers; it sees our own pages only
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",  # a mouse
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-first-run",
    "--no-proxy-server",
)
PATIENCE = 30.0
"""Seconds after which the browser, or what is waited for, is stuck."""

Scheme = Literal["light", "dark"]


def find_chromium() -> str | None:
    """Path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class BrowserError(Exception):
    """The browser did not do what it was told, or what was waited for did not come."""


class Page:
    """One tab. Its methods return when the browser has done what they say."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Any:
        """Sends one command of the DevTools protocol to the tab and returns its result."""
        return self._browser.send(method, self._session, **params)

    def open(self, url: str) -> None:
        """Goes to a URL, and waits until its modules have run."""
        self.send("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def look_like(self, width: int, height: int, scheme: Scheme = "light", scale: float = 1) -> None:
        """Gives the tab a size in CSS pixels, and what the user prefers."""
        narrow = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": narrow}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setTouchEmulationEnabled", enabled=narrow)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        given = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.send("Runtime.evaluate", **given)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(
                f"{expression[:200]}: {details.get('exception', {}).get('description', details['text'])}"
            )
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = PATIENCE) -> Any:
        """Waits until an expression is true, and returns its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise BrowserError(f"never true: {expression}")
            time.sleep(0.02)
        return value

    def text(self, selector: str) -> str:
        """What an element shows."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Clicks into the middle of an element with the mouse."""
        x, y = self.evaluate(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)}); node.scrollIntoViewIfNeeded();"
            "const {x, y, width, height} = node.getBoundingClientRect(); return [x + width / 2, y + height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Writes into whatever has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: Literal["Enter", "Escape"], *, shift: bool = False) -> None:
        """Presses a key and lets it go."""
        code = {"Enter": 13, "Escape": 27}[key]
        given: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **given, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **given)

    def screenshot(self) -> bytes:
        """What is to be seen, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def complaints(self) -> list[str]:
        """What the browser and the page have had to complain about so far: errors, and what a policy forbade."""
        found = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            match event:
                case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                    found.append(str(details.get("exception", {}).get("description", details["text"])))
                case {"method": "Log.entryAdded", "params": {"entry": entry}} if entry["level"] == "error":
                    found.append(f"{entry['text']} {entry.get('url', '')}".strip())
        return found


class Browser:
    """A running Chromium. See `start_browser`."""

    def __init__(self, program: str, folder: str) -> None:
        reads_commands, self._commands = _pipe()
        self._answers, writes_answers = _pipe()
        actions = [
            *((os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)),
            (os.POSIX_SPAWN_DUP2, reads_commands, 3),
            (os.POSIX_SPAWN_DUP2, writes_answers, 4),
        ]
        command = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._pid = os.posix_spawn(program, command, os.environ, file_actions=actions, setpgroup=0)
        os.close(reads_commands)
        os.close(writes_answers)
        self._number = 0
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def page(self) -> Iterator[Page]:
        """A new tab, which shares nothing with others, until the end of the block."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        yield Page(self, self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        self.send("Target.disposeBrowserContext", browserContextId=context)

    def send(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Sends one command and returns its result; events that come meanwhile go to `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def close(self) -> None:
        """Ends the browser and all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._commands)
        os.close(self._answers)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE)
            chunk = os.read(self._answers, 1 << 20) if ready else b""
            if not chunk:
                raise BrowserError("The browser ended, or does not answer.")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


@contextlib.contextmanager
def start_browser(program: str) -> Iterator[Browser]:
    """A Chromium with an empty profile, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="sgl-jax-browser-", ignore_cleanup_errors=True) as folder:
        browser = Browser(program, folder)
        try:
            yield browser
        finally:
            browser.close()


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are none of the descriptors that the browser wants its own on."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]
