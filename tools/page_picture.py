"""Takes the picture of the page at `/` for the README: `uv run python -m tools.page_picture URL FILE.png`.

The server at URL should run a real model and have nothing else to do. Needs a Chromium (`tools/chromium.py`).
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from pathlib import Path

from tools.chromium import Page, find_chromium, start_browser

QUESTIONS = ("What is the capital of France?", "Show me a Python function that finds prime numbers.")
OTHERS = 5
"""Requests beside the page's own, so that the panel has something to show."""
SIZE = (1280, 860)


def ask(page: Page, question: str, tokens: int) -> None:
    """Asks, and waits until the answer has ended, or has so many tokens."""
    page.click("#prompt")
    page.type(question)
    page.press("Enter")
    page.wait_for("document.querySelector('.answer:last-child')?.classList.contains('running')")
    last = "document.querySelector('.answer:last-child')"
    said = f"parseInt({last}.querySelector('.numbers').innerText)"
    page.wait_for(f"!{last}.matches('.running') || {said} > {tokens}", 300)


def keep_busy(url: str) -> list[threading.Thread]:
    """Sends the other requests; they end by themselves."""

    def tell(number: int) -> None:
        story = f"Tell me story number {number} of a lighthouse keeper."
        body = {"messages": [{"role": "user", "content": story}], "max_tokens": 200, "temperature": 0.8}
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/chat/completions", data, headers)) as answer:
            answer.read()

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(OTHERS)]
    for thread in threads:
        thread.start()
        time.sleep(0.5)
    return threads


def main() -> int:
    """Writes the picture; returns 1 when there is no browser."""
    url, file = sys.argv[1].rstrip("/"), Path(sys.argv[2])
    if (program := find_chromium()) is None:
        print("There is no Chromium here.", file=sys.stderr)
        return 1
    with start_browser(program) as browser, browser.page() as page:
        page.look_like(*SIZE)
        page.open(url)
        page.wait_for("document.querySelector('#gauge-kv')?.innerText.includes('%')")
        for field, value in (("system", "Be brief."), ("temperature", "0"), ("max_tokens", "150")):
            page.click(f"#field-{field}")
            page.type(value)
        ask(page, QUESTIONS[0], 150)
        others = keep_busy(url)
        ask(page, QUESTIONS[1], 140)
        file.write_bytes(page.screenshot())
        for thread in others:
            thread.join()
    print(f"wrote {file}: {file.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
