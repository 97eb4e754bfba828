"""The scheduler against a step-by-step simulation: random submits, aborts and tiny pools, no jax.

The fake executor draws every token from a hash read back through the KV pages, so a page owned
twice, a lost write or a wrong position shows up as a wrong token.
"""

from __future__ import annotations

import subprocess
import sys

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sgl_jax.engine.core import EngineCore
from sgl_jax.engine.execution.fake import FakeExecutor, script
from sgl_jax.engine.messages import EngineInfo, GenerateRequest
from sgl_jax.engine.plan import StepLimits
from sgl_jax.engine.sampling_params import SamplingParams

VOCAB = 50


def make_core(*, num_pages=24, page_size=4, max_slots=5, max_tokens=16, max_chunk=8, eos=(), **options):
    longest = num_pages * page_size
    executor = FakeExecutor(
        num_pages=num_pages,
        page_size=page_size,
        max_slots=max_slots,
        max_pages_per_slot=num_pages,
        vocab_size=VOCAB,
        limits=StepLimits(max_tokens, max_chunk),
    )
    info = EngineInfo(
        model_path="fake",
        architecture="Fake",
        vocab_size=VOCAB,
        max_model_len=longest,
        max_total_tokens=longest,
        max_running_requests=max_slots,
        eos_token_ids=list(eos),
        dtype="none",
        device="fake",
    )
    return EngineCore(executor, info, **options)


class Simulation(RuleBasedStateMachine):
    """Random traffic; every finished answer must equal the script, and nothing may leak."""

    @initialize(
        num_pages=st.integers(6, 30),
        page_size=st.sampled_from([1, 4, 16]),
        max_slots=st.integers(1, 6),
        max_tokens=st.integers(6, 40),
        max_chunk=st.integers(1, 40),
        overlap=st.booleans(),
        prefix_cache=st.booleans(),
        schedule_policy=st.sampled_from(["fcfs", "lpm", "priority"]),
        eos=st.sampled_from([(), (3,), (3, 7, 11)]),
    )
    def build(self, **shape):
        self.core = make_core(**shape)
        self.eos = set(shape["eos"])
        self.longest = shape["num_pages"] * shape["page_size"]
        self.expected: dict[str, tuple[list[int], str]] = {}
        self.answers: dict[str, list[int]] = {}
        self.count = 0
        self.idle_steps = 0

    @rule(
        prompt=st.lists(st.integers(0, 2), min_size=1, max_size=40),  # few letters: many shared prefixes
        wanted=st.integers(1, 30),
        salt=st.sampled_from(["", "tenant"]),
        priority=st.integers(0, 2),
        data=st.data(),
    )
    def submit(self, prompt, wanted, salt, priority, data):
        prompt = prompt[: self.longest - 1]
        wanted = min(wanted, self.longest - len(prompt))
        ignore_eos = data.draw(st.booleans())
        seed = data.draw(st.integers(0, 2**31))
        self.count += 1
        request_id = str(self.count)
        sampling = SamplingParams(max_new_tokens=wanted, ignore_eos=ignore_eos, seed=seed)
        self.core.submit(
            GenerateRequest(
                request_id=request_id, prompt_ids=prompt, sampling=sampling, priority=priority, cache_salt=salt
            )
        )
        tokens = script(prompt, wanted, vocab_size=VOCAB, seed=seed)
        reason = "length"
        for position, token in enumerate(tokens):
            if token in self.eos and not ignore_eos:
                tokens, reason = tokens[: position + 1], "stop"
                break
        self.expected[request_id] = (tokens, reason)
        self.answers[request_id] = []

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def abort(self, data):
        request_id = data.draw(st.sampled_from(sorted(self.expected)))
        self.core.abort([request_id, "never-seen"])
        del self.expected[request_id], self.answers[request_id]

    @rule(count=st.integers(1, 12))
    def steps(self, count):
        for _ in range(count):
            self.step()

    @rule()
    def drain(self):
        limit = 50 + 4 * sum(len(tokens) + 60 for tokens, _ in self.expected.values())
        while self.core.has_work():
            self.step()
            limit -= 1
            assert limit > 0, "requests do not finish: deadlock or starvation"
        assert not self.expected, "requests were lost"
        stats = self.core.stats()
        assert stats.pages_free == stats.pages_total
        assert stats.running == stats.waiting == 0

    def step(self):
        outputs = self.core.step()
        self.core.check_integrity()
        for request_id, delta in zip(outputs.request_ids, outputs.deltas, strict=True):
            assert request_id in self.expected, "output for a request that is gone"
            self.answers[request_id] += delta.token_ids
            if delta.finish is not None:
                tokens, reason = self.expected.pop(request_id)
                assert self.answers.pop(request_id) == tokens
                assert delta.finish.reason == reason


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(
    max_examples=100, stateful_step_count=100, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_the_host_path_never_imports_jax():
    program = (
        "import sys, runpy; "
        "import sgl_jax.engine, sgl_jax.engine.core, sgl_jax.engine.execution.fake, sgl_jax.engine.text.stream; "
        "from sgl_jax.engine import SamplingParams, EngineConfig; "
        "assert not {'jax', 'flax'} & set(sys.modules), 'jax was imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
