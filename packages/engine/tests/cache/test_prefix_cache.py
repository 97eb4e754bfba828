"""The prefix cache against a naive model: random owners, matches and releases, integrity after every step."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sgl_jax.engine.cache.page_pool import PagePool
from sgl_jax.engine.cache.prefix_cache import PrefixCache


class Traffic(RuleBasedStateMachine):
    """Owners come with tokens, match, allocate the rest, keep some, and go."""

    @initialize(num_pages=st.integers(1, 12), page_size=st.integers(1, 3), enabled=st.booleans())
    def build(self, num_pages, page_size, enabled):
        self.cache = PrefixCache(num_pages, page_size, enabled=enabled)
        self.page_size = page_size
        self.owners = []
        self.written = {}  # page -> (salt, tokens up to its end), as the device would hold it

    @rule(
        tokens=st.lists(st.integers(0, 1), min_size=1, max_size=14),
        salt=st.sampled_from(["", "a"]),
        priority=st.integers(0, 2),
    )
    def come(self, tokens, salt, priority):
        pages = self.cache.match(tokens, salt, priority)
        for index, page in enumerate(pages):
            assert self.written[page] == (salt, tokens[: (index + 1) * self.page_size]), "matched foreign content"
        missing = -(-len(tokens) // self.page_size) - len(pages)
        if not self.cache.can_allocate(missing):
            with pytest.raises(MemoryError):
                self.cache.allocate(missing)
            self.cache.release(pages)
            return
        first = len(pages)
        pages = pages + self.cache.allocate(missing)
        for index in range(first, len(pages)):
            self.written[pages[index]] = (salt, tokens[: (index + 1) * self.page_size])
        self.owners.append([tokens, pages, first, salt, priority])

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def keep(self, data):
        owner = data.draw(st.sampled_from(self.owners))
        tokens, pages, first, salt, priority = owner
        computed = data.draw(st.integers(0, len(tokens)))
        owner[2] = self.cache.keep(tokens[:computed], pages, first, salt, priority)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def go(self, data):
        owner = self.owners.pop(data.draw(st.integers(0, len(self.owners) - 1)))
        self.cache.release(owner[1])

    @rule()
    def flush(self):
        self.cache.flush()

    @invariant()
    def nothing_is_lost(self):
        if hasattr(self, "owners"):
            self.cache.check_integrity([owner[1] for owner in self.owners])
            if not self.owners:
                assert self.cache.num_available == self.cache.num_pages

    def teardown(self):
        if hasattr(self, "owners"):
            for owner in self.owners:
                self.cache.release(owner[1])
            self.cache.flush()
            assert self.cache.num_cached == 0
            assert self.cache.allocate(self.cache.num_pages)


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def finished(cache, tokens, salt="", priority=0):
    pages = cache.match(tokens, salt, priority)
    first = len(pages)
    pages += cache.allocate(-(-len(tokens) // 2) - first)
    cache.keep(tokens, pages, first, salt, priority)
    cache.release(pages)


def test_a_prefix_is_found_again_in_its_own_name_space_only():
    cache = PrefixCache(10, 2)
    finished(cache, [1, 2, 3, 4, 5])
    assert cache.matched_length([1, 2, 3, 4, 9, 9]) == 4
    assert cache.matched_length([1, 2, 3, 9]) == 2
    assert cache.matched_length([1, 2, 3, 4], salt="tenant") == 0


def test_the_least_recently_used_goes_first_and_leaves_before_their_parents():
    cache = PrefixCache(6, 2)
    finished(cache, [1, 1, 2, 2])
    finished(cache, [1, 1, 3, 3])
    finished(cache, [5, 5])
    cache.release(cache.match([1, 1, 2, 2]))
    cache.release(cache.allocate(3))  # two were free, so one page goes: the branch used longest ago
    assert cache.matched_length([1, 1, 3, 3]) == 2
    assert cache.matched_length([1, 1, 2, 2]) == 4
    assert cache.matched_length([5, 5]) == 2
    cache.release(cache.allocate(5))
    assert cache.matched_length([5, 5]) == 0
    assert cache.matched_length([1, 1, 2, 2]) == 2


def test_higher_priority_stays_longer():
    cache = PrefixCache(2, 2)
    finished(cache, [1, 1], priority=5)
    finished(cache, [2, 2])
    cache.release(cache.match([2, 2]))
    cache.release(cache.allocate(1))
    assert cache.matched_length([1, 1]) == 2
    assert cache.matched_length([2, 2]) == 0


def test_pages_in_use_are_never_evicted():
    cache = PrefixCache(3, 2)
    finished(cache, [1, 1, 2, 2])
    held = cache.match([1, 1, 2, 2])
    assert cache.can_allocate(1)
    assert not cache.can_allocate(2)
    cache.release(held)
    assert cache.can_allocate(3)


def test_the_pool_refuses_double_release_and_sharing_free_pages():
    pool = PagePool(2)
    pages = pool.allocate(1)
    pool.release(pages)
    with pytest.raises(ValueError, match="already free"):
        pool.release(pages)
    with pytest.raises(ValueError, match="free"):
        pool.share(pages)
    with pytest.raises(MemoryError):
        pool.allocate(3)
    assert pool.num_free == 2
