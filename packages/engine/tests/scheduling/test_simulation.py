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
from sgl_jax.engine.execution.fake import FakeExecutor, script, script_logprobs
from sgl_jax.engine.messages import GenerateRequest
from sgl_jax.engine.plan import StepLimits
from sgl_jax.engine.sampling_params import SamplingParams

VOCAB = 50


class HistoryKeeper(FakeExecutor):
    """Knows of a slot's sequence what the device does, history sent and draws since; checks it before each draw."""

    def __init__(self, **shape):
        super().__init__(**shape)
        self.known = [[] for _ in range(self.max_slots)]

    def dispatch(self, plan):
        for slot in plan.slots:
            if slot.history is not None:
                self.known[slot.slot] = [*slot.history.prompt_ids, *slot.history.generated_ids]
            end = slot.start + slot.num_tokens
            if slot.adjust:
                assert len(self.known[slot.slot]) == end, "a slot does not know its whole sequence"
                assert not slot.token_ids or self.known[slot.slot][slot.start :] == slot.token_ids
            assert slot.adjust == (slot.sample and slot.sampling.adjusts_logits)
        ready = super().dispatch(plan)
        for slot, token in zip(plan.slots, ready.collect().token_ids.tolist(), strict=True):
            if slot.adjust:
                self.known[slot.slot].append(token)
        return ready


def make_core(
    *, num_pages=24, page_size=4, max_slots=5, max_tokens=16, max_chunk=8, window=None, longest=None, eos=(), **options
):
    longest = longest or num_pages * page_size
    executor = HistoryKeeper(
        num_pages=num_pages,
        page_size=page_size,
        max_slots=max_slots,
        max_pages_per_slot=-(-longest // page_size),
        vocab_size=VOCAB,
        limits=StepLimits(max_tokens, max_chunk),
        window=window,
    )
    return EngineCore(executor, executor.info(max_model_len=longest, eos_token_ids=eos), **options)


class Simulation(RuleBasedStateMachine):
    """Random traffic; every finished answer must equal the script, and nothing may leak."""

    @initialize(
        num_pages=st.integers(6, 30),
        page_size=st.sampled_from([1, 4, 16]),
        max_slots=st.integers(1, 6),
        max_tokens=st.integers(6, 40),
        max_chunk=st.integers(1, 40),
        window=st.one_of(st.none(), st.integers(1, 40)),
        longest=st.sampled_from([None, 200]),
        overlap=st.booleans(),
        prefix_cache=st.booleans(),
        schedule_policy=st.sampled_from(["fcfs", "lpm", "priority"]),
        eos=st.sampled_from([(), (3,), (3, 7, 11)]),
    )
    def build(self, **shape):
        self.core = make_core(**shape)
        self.window = shape["window"]
        self.eos = set(shape["eos"])
        self.longest = self.core.info.max_model_len
        self.expected: dict[str, tuple[list[int], str]] = {}
        self.answers: dict[str, list[int]] = {}
        self.count = 0
        self.idle_steps = 0

    @rule(
        prompt=st.lists(st.integers(0, 2), min_size=1, max_size=60),  # few letters: many shared prefixes
        wanted=st.integers(0, 60),
        scored_from=st.one_of(st.none(), st.integers(0, 20)),
        salt=st.sampled_from(["", "tenant"]),
        priority=st.integers(0, 2),
        data=st.data(),
    )
    def submit(self, prompt, wanted, scored_from, salt, priority, data):
        prompt = prompt[: self.longest - 1]
        wanted = min(wanted, self.longest - len(prompt))
        ignore_eos = data.draw(st.booleans())
        seed = data.draw(st.integers(0, 2**31))
        penalty = data.draw(st.sampled_from([0.0, 1.0]))
        self.count += 1
        request_id = str(self.count)
        sampling = SamplingParams(
            max_new_tokens=wanted,
            ignore_eos=ignore_eos,
            seed=seed,
            frequency_penalty=penalty,
            prompt_logprobs=None if scored_from is None else 0,
            prompt_logprobs_from=scored_from or 0,
        )
        scores = [] if scored_from is None else script_logprobs(prompt, window=self.window)[max(scored_from - 1, 0) :]
        self.core.submit(
            GenerateRequest(
                request_id=request_id, prompt_ids=prompt, sampling=sampling, priority=priority, cache_salt=salt
            )
        )
        tokens = script(prompt, wanted, vocab_size=VOCAB, seed=seed, window=self.window)
        reason = "length"
        for position, token in enumerate(tokens):
            if token in self.eos and not ignore_eos:
                tokens, reason = tokens[: position + 1], "stop"
                break
        self.expected[request_id] = (tokens, reason, scores)
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
        limit = 50 + 4 * sum(len(tokens) + 120 for tokens, _, _ in self.expected.values())
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
            first = not self.answers[request_id]
            self.answers[request_id] += delta.token_ids
            assert [entry.logprob for entry in delta.prompt_logprobs] == (self.expected[request_id][2] if first else [])
            if delta.finish is not None:
                tokens, reason, _ = self.expected.pop(request_id)
                assert self.answers.pop(request_id) == tokens
                assert delta.finish.reason == reason


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(
    max_examples=100, stateful_step_count=100, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_long_answer_runs_in_a_pool_of_its_window():
    window, chunk, page_size = 64, 32, 16
    num_pages = (window + chunk) // page_size + 2
    shape = {"page_size": page_size, "max_chunk": chunk, "max_tokens": chunk, "window": window, "longest": 12_000}
    core = make_core(num_pages=num_pages, **shape)
    assert core.info.max_model_len == 12_000
    prompt = [number % VOCAB for number in range(300)]
    sampling = SamplingParams(max_new_tokens=10_000, ignore_eos=True, seed=1)
    core.submit(GenerateRequest(request_id="long", prompt_ids=prompt, sampling=sampling))
    answer = []
    while core.has_work():
        answer += [token for delta in core.step().deltas for token in delta.token_ids]
    assert answer == script(prompt, 10_000, vocab_size=VOCAB, seed=1, window=window)
    stats = core.stats()
    assert (stats.preempted_total, stats.pages_free) == (0, num_pages)

    core = make_core(num_pages=num_pages - 2, **shape)
    assert core.info.max_model_len == (num_pages - 2) * page_size, "a pool below the window carries what it holds"


def test_within_a_window_a_copied_page_leaves_room_for_the_chunk_behind_it():
    core = make_core(num_pages=12, page_size=16, window=19, max_chunk=9, max_tokens=16)
    prefix = [number % VOCAB for number in range(46)]
    for own in ([1, 2, 3], [4, 5, 6, 7]):
        prompt, answer = [*prefix, *own], []
        sampling = SamplingParams(max_new_tokens=20, ignore_eos=True, seed=1)
        core.submit(GenerateRequest(request_id=str(own), prompt_ids=prompt, sampling=sampling))
        while core.has_work():
            answer += [token for delta in core.step().deltas for token in delta.token_ids]
        assert answer == script(prompt, 20, vocab_size=VOCAB, seed=1, window=19)
    assert core.stats().cached_tokens_total == 46


def test_only_what_finds_no_free_slot_counts_as_queued():
    core = make_core(max_slots=3, max_queued_requests=2)
    sampling = SamplingParams(max_new_tokens=8, ignore_eos=True)

    def refused(*ids):
        for request_id in ids:
            core.submit(GenerateRequest(request_id=request_id, prompt_ids=[1], sampling=sampling))
        outputs = core.step()
        ends = zip(outputs.request_ids, outputs.deltas, strict=True)
        return [request_id for request_id, delta in ends if delta.finish and delta.finish.code == "queue_full"]

    assert refused(*"abcdefg") == ["f", "g"], "three run and two wait, though no step has been planned yet"
    assert refused("h") == ["h"]
    core.abort(["a", "d", "e"])
    assert refused(*"ijkl") == ["l"]


def test_the_host_path_never_imports_jax():
    program = (
        "import sys, runpy; "
        "import sgl_jax.engine, sgl_jax.engine.core, sgl_jax.engine.execution.fake, sgl_jax.engine.text.stream; "
        "from sgl_jax.engine import SamplingParams, EngineConfig; "
        "assert not {'jax', 'flax'} & set(sys.modules), 'jax was imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
