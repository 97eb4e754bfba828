"""The page at `/` in a real browser, in front of a scripted engine."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.messages import Phase
from sgl_jax.server.app import AppOptions
from sgl_jax.server.auth import Keys
from tools.chromium import NAMES, Browser, Page, find_chromium, start_browser

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser here: none of {', '.join(NAMES)} (Debian: chromium-headless-shell)"
)

HOSTILE = """# <img src=x onerror="window.hacked=1">
<script>window.hacked=2</script> **<svg onload="window.hacked=3">** `<iframe srcdoc="<script>top.hacked=4</script>">`

- [one](javascript:window.hacked=5) [two](JaVaScRiPt:window.hacked=6) [three](data:text/html,<script>hacked=7</script>)
- [four](https://a.example/"onmouseover="window.hacked=8") ![five](https://a.example/p.png) <https://b.example/>

```"><img src=x onerror=window.hacked=9>
</code></pre><script>window.hacked=10</script>
```

| <style>body{display:none}</style> | b |
|---|---|
| <b onclick=window.hacked=11>x</b> | \\<base href=//c.example> |
"""
TEMPLATE = (
    "{{ tools }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with start_browser(CHROMIUM) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.page() as page:
        page.look_like(1200, 800)
        yield page


def visit(page: Page, url: str) -> None:
    page.open(url)
    page.wait_for("document.activeElement.id === 'prompt'")  # main.js has run


def ask(page: Page, text: str) -> None:
    page.click("#prompt")
    page.type(text)
    page.press("Enter")


def wait_for_answers(page: Page, count: int = 1) -> str:
    """What stands on the page once so many answers have ended."""
    page.wait_for(f"document.querySelectorAll('.answer:not(.running)').length === {count}")
    return page.text("#messages")


def test_a_conversation(page: Page, make_app: Callable[..., FastAPI], serve: Callable[..., str], engine: Any) -> None:
    """Asks, sees the stream arrive, stops it, asks again; the panel follows."""
    hold = asyncio.Event()  # never set: only an abort goes on from there
    engine.script = lambda request: [*engine.say(request, "A **bold** beginning")[:20], hold]
    url = serve(make_app())
    visit(page, url)
    page.wait_for("document.querySelector('#gauge-kv').innerText === '25%'")
    assert page.text("#model") == "org/tiny"
    assert page.text("#welcome")

    page.click("#field-temperature")
    page.type("0.5")
    page.click("#field-system")
    page.type("Be brief.")
    page.click("#prompt")
    page.type("First line")
    page.press("Enter", shift=True)
    ask(page, "second line")
    page.wait_for("document.querySelector('.answer.running strong')?.innerText === 'bold'")
    assert not page.text("#messages").endswith("*")
    assert page.evaluate("document.querySelector('#messages').ariaBusy") == "true"
    assert engine.aborted == []
    (request,) = engine.submitted
    assert request.sampling.temperature == 0.5
    prompt = engine.tokenizer.decode(request.prompt_ids)
    assert "Be brief." in prompt
    assert "First line" in prompt
    assert "\nsecond line" in prompt

    page.press("Escape")
    said = wait_for_answers(page)
    assert "A bold beginning" in said
    assert "20 tokens" in said
    assert "Stopped" in said
    while not engine.aborted:  # or the test's time limit ends it
        time.sleep(0.01)
    assert engine.aborted == [request.request_id]

    page.wait_for("Number(document.querySelector('#gauge-speed').innerText) > 0")
    engine.script = None
    page.click("[aria-label='Answer again']")
    said = wait_for_answers(page)
    assert "Hello wörld! 👩‍🚀 Stop here." in said
    assert "A bold beginning" not in said
    assert "first after" in said
    assert "tok/s" in said

    page.click("[aria-label='Edit']")
    page.evaluate("document.activeElement.select()")
    page.type("Something else")
    page.press("Enter")
    wait_for_answers(page)
    assert page.text(".user .said") == "Something else"
    ask(page, "More")
    wait_for_answers(page, 2)
    prompt = engine.tokenizer.decode(engine.submitted[-1].prompt_ids)
    assert "Something else" in prompt
    assert "Stop here." in prompt
    assert "First line" not in prompt

    page.send("Page.reload")
    page.wait_for("document.querySelectorAll('.answer').length === 2")
    assert page.evaluate("document.querySelector('#field-temperature').value") == "0.5"
    page.click("#new")
    page.wait_for("!document.querySelector('.message')")
    assert page.text("#welcome")
    assert page.complaints() == []
    # Those that came to their end were left at their end: 499 is for the one that was stopped.
    chats = re.findall(r'/v1/chat/completions",status="(\d+)"} ([\d.]+)', httpx.get(f"{url}/metrics").text)
    assert dict(chats) == {"200": "3.0", "499": "1.0"}


MARKDOWN = {
    "a *b* **c** ***d*** `e` ~~f~~": "<p>a <em>b</em> <strong>c</strong> <em><strong>d</strong></em> "
    "<code>e</code> <del>f</del></p>",
    "**a *b* c** snake_case_word 2 * 3 * 4": "<p><strong>a <em>b</em> c</strong> snake_case_word 2 * 3 * 4</p>",
    "# H #\nText\nmore": "<h3>H</h3><p>Text<br>more</p>",
    "1. a\n   - b\n   - c\n2. d": '<ol start="1"><li>a<ul><li>b</li><li>c</li></ul></li><li>d</li></ol>',
    "- a\n\n  more\n- b\nlazy": "<ul><li><p>a</p><p>more</p></li><li>b<br>lazy</li></ul>",
    "3. \\*c\\*\n\n> q\n> - l\n\n---": '<ol start="3"><li>*c*</li></ol>'
    "<blockquote><p>q</p><ul><li>l</li></ul></blockquote><hr>",
    "a | b\n--|--\n`1` | 2": '<div class="table" tabindex="0"><table><thead><tr><th>a</th><th>b</th></tr></thead>'
    "<tbody><tr><td><code>1</code></td><td>2</td></tr></tbody></table></div>",
    "[here](/flush_cache) [there](javascript:x)": "<p>[here](/flush_cache) [there](javascript:x)</p>",
    "(see https://a.example/b.)": '<p>(see <a href="https://a.example/b" target="_blank" rel="noopener noreferrer">'
    "https://a.example/b</a>.)</p>",
    "<b>&amp;</b>": "<p>&lt;b&gt;&amp;amp;&lt;/b&gt;</p>",
}
ENDLESS = [
    "*a ",
    "**a",
    "_a",
    "`a ",
    "[",
    "[a](",
    "![",
    "[a](b(",
    "*_**__~~`[",
    "\\",
    ">",
    "- ",
    "a\nb\nc\n",
    "|a",
    "https://a ",
]
"""Each many times over: none may take longer than its length, nor more of the stack."""


def test_markdown(page: Page, make_app: Callable[..., FastAPI], serve: Callable[..., str]) -> None:
    visit(page, serve(make_app()))
    show = (
        "(async () => {{ const {{ showMarkdown }} = await import('/page/markdown.js');"
        "const box = document.createElement('div'); {0}; return box.innerHTML; }})()"
    )
    for text, expected in MARKDOWN.items():
        assert page.evaluate(show.format(f"showMarkdown(box, {json.dumps(text)})")) == expected
        # However it comes, the same stands there in the end.
        grow = f"for (const end of [2, 5, 9, 14, 20, 99]) showMarkdown(box, {json.dumps(text)}.slice(0, end))"
        assert page.evaluate(show.format(grow)) == expected
    for part in ENDLESS:
        shown = page.evaluate(show.format(f"showMarkdown(box, {json.dumps(part)}.repeat(30000))"))
        assert shown.startswith("<")


def test_nothing_that_a_model_says_is_run(
    page: Page, make_speaker: Callable[..., Any], serve: Callable[..., str]
) -> None:
    """Text, thoughts and calls: all are shown, none becomes an element with a will of its own."""
    call = json.dumps({"name": "<img src=x onerror=window.hacked=12>", "arguments": {"a": HOSTILE}})
    text = f"<think>{HOSTILE}</think>{HOSTILE}<tool_call>{call}</tool_call>"
    app, engine = make_speaker(text, TEMPLATE, tools="hermes", reasoning="qwen3")
    roomy = msgspec.structs.replace(engine.info(), max_model_len=8192)
    engine.info = lambda: roomy
    visit(page, serve(app))
    page.evaluate("document.querySelector('#field-tools').closest('details').open = true")
    page.click("#field-tools")
    page.type('[{"type": "function", "function": {"name": "<img src=x onerror=window.hacked=12>"}}]')
    ask(page, HOSTILE)
    wait_for_answers(page)
    assert page.evaluate("typeof window.hacked") == "undefined"
    allowed = ".reasoning .prose, .answer > .prose, .calls"
    count = f"[...document.querySelectorAll('{allowed}')].map(node => node.innerText.includes('window.hacked=2'))"
    page.evaluate("document.querySelector('.reasoning').open = true")
    assert page.evaluate(count) == [True, True, True]
    made = "img, script, iframe, style, base, svg:not([aria-hidden]), [onerror], [onclick], [onload], [onmouseover]"
    assert page.evaluate(f"document.querySelectorAll('#messages :is({made})').length") == 0
    links = page.evaluate("[...document.querySelectorAll('#messages a')].map(a => [a.protocol, a.rel, a.target])")
    assert links
    assert all(link == ["https:", "noopener noreferrer", "_blank"] for link in links)
    page.click("#messages .answer > .prose h3")
    assert page.evaluate("typeof window.hacked") == "undefined"
    # And were a script of ours to forget itself, the browser would not.
    refused = "(() => { try { document.body.innerHTML = '<p>'; return false; } catch (error) { return true; } })()"
    assert page.evaluate(refused)
    assert [one for one in page.complaints() if "TrustedHTML" not in one] == []


def test_what_goes_wrong_is_told_and_goes_away(
    page: Page, make_app: Callable[..., FastAPI], serve: Callable[..., str], engine: Any, phase: list[Phase]
) -> None:
    """A key is asked for; an engine that dies, and comes back, is told of; a mistake in the settings is not sent."""
    phase[0] = Phase("compiling", 3, 12)
    visit(page, serve(make_app(options=AppOptions(keys=Keys("secret")))))
    page.wait_for("document.querySelector('#banner').innerText.includes('API key')")
    ask(page, "Hi")
    assert "wants an API key" in wait_for_answers(page)
    assert page.evaluate("document.activeElement.id") == "field-key"
    page.type("secret")
    page.press("Enter")
    page.wait_for("document.querySelector('#banner').innerText.includes('compiling, 3 of 12')")
    phase[0] = Phase("ready")
    page.wait_for("document.querySelector('#banner').hidden")
    assert page.evaluate(
        "[Object.values(localStorage).join().includes('secret'), Object.values(sessionStorage).includes('secret')]"
    ) == [False, True]

    page.click(".failure button")
    assert "Stop here." in wait_for_answers(page)
    engine.script = lambda request: [*engine.say(request)[:3], EngineDeadError("The engine was killed.")]
    ask(page, "Die")
    assert "The model is not there right now." in wait_for_answers(page, 2)
    engine.script = None

    page.click("#field-top_p")
    page.type("7")
    sent = len(engine.submitted)
    ask(page, "Hm")
    assert page.text("#field-top_p-hint") == "Give a number from 0 to 1"
    assert page.evaluate("document.activeElement.id") == "field-top_p"
    assert len(engine.submitted) == sent


def test_a_phone_in_the_dark(page: Page, make_app: Callable[..., FastAPI], serve: Callable[..., str]) -> None:
    """Nothing is wider than the screen; the panel lies over the chat, and Escape closes it."""
    page.look_like(360, 640, "dark")
    page.open(serve(make_app()))
    page.wait_for("document.querySelector('#gauge-kv')?.innerText !== undefined")
    ask(page, "word" * 60)
    wait_for_answers(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.querySelector('#side').hidden")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#toggle-side")
    assert page.evaluate("[document.querySelector('#side').hidden, document.querySelector('#main').inert]") == [
        False,
        True,
    ]
    assert page.evaluate("document.querySelector('#side').scrollWidth <= 360")
    page.press("Escape")
    assert page.evaluate("[document.querySelector('#side').hidden, document.querySelector('#main').inert]") == [
        True,
        False,
    ]
    page.look_like(360, 640, "light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
