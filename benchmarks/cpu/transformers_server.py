"""`transformers` behind OpenAI's completions route: everybody who waits goes into one call of `generate`.

Runs in the peer's environment, with nothing but torch, transformers and the standard library:
`python transformers_server.py FOLDER PORT THREADS SLOTS`. `transformers serve` itself is not used, because it
refuses `ignore_eos` and ends its streams without `[DONE]`.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.streamers import BaseStreamer

GATHER_SECONDS = 0.01
"""How long the first of a batch waits for others."""


class Job:
    """A request: its prompt, and the tokens that come out, closed by None."""

    def __init__(self, prompt: str, new_tokens: int) -> None:
        self.prompt = prompt
        self.new_tokens = new_tokens
        self.tokens: queue.SimpleQueue[int | None] = queue.SimpleQueue()


class Spread(BaseStreamer):  # type: ignore[misc]
    """Hands every step's tokens to the jobs of the batch."""

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = jobs
        self._left = [job.new_tokens for job in jobs]
        self._is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        if self._is_prompt:
            self._is_prompt = False
            return
        for number, token in enumerate(value.flatten().tolist()):
            if self._left[number] > 0:
                self._left[number] -= 1
                self._jobs[number].tokens.put(token)
                if self._left[number] == 0:
                    self._jobs[number].tokens.put(None)

    def end(self) -> None:
        """Nothing is left to say: every job got as many tokens as it asked for."""


class Batcher:
    """One thread that generates for whoever waits."""

    def __init__(self, folder: str, slots: int) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa")
        self._model.eval()
        self._slots = slots
        self.waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def run(self) -> None:
        while True:
            jobs = [self.waiting.get()]
            time.sleep(GATHER_SECONDS)
            while len(jobs) < self._slots:
                try:
                    jobs.append(self.waiting.get_nowait())
                except queue.Empty:
                    break
            self._generate(jobs)

    @torch.inference_mode()
    def _generate(self, jobs: list[Job]) -> None:
        inputs = self.tokenizer([job.prompt for job in jobs], return_tensors="pt", padding=True)
        self._model.generate(
            **inputs,
            max_new_tokens=(most := max(job.new_tokens for job in jobs)),
            min_new_tokens=most,
            do_sample=False,
            streamer=Spread(jobs),
        )


def handler(batcher: Batcher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._whole({"data": [{"id": "smollm2"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            job = Job(body["prompt"], body["max_tokens"])
            prompt_tokens = len(batcher.tokenizer(job.prompt)["input_ids"])
            batcher.waiting.put(job)
            usage = {"prompt_tokens": prompt_tokens, "completion_tokens": job.new_tokens}
            if not body.get("stream"):
                while job.tokens.get() is not None:
                    pass
                self._whole({"choices": [{"text": ""}], "usage": usage})
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while (token := job.tokens.get()) is not None:
                self._event(json.dumps({"choices": [{"text": batcher.tokenizer.decode([token]) or " "}]}))
            self._event(json.dumps({"choices": [], "usage": usage}))
            self._event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")

        def _event(self, data: str) -> None:
            piece = f"data: {data}\n\n".encode()
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

        def _whole(self, value: dict[str, Any]) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    return Handler


def main() -> None:
    folder, port, threads, slots = sys.argv[1], *map(int, sys.argv[2:5])
    torch.set_num_threads(threads)
    batcher = Batcher(folder, slots)
    threading.Thread(target=batcher.run, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", port), handler(batcher)).serve_forever()


if __name__ == "__main__":
    main()
