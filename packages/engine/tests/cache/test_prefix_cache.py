"""The prefix cache against a naive model: random owners, matches and releases, integrity after every step."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sgl_jax.engine.cache.holding import Holding
from sgl_jax.engine.cache.page_pool import PagePool
from sgl_jax.engine.cache.prefix_cache import PrefixCache
from sgl_jax.engine.cache.window import PageWindow


class Traffic(RuleBasedStateMachine):
    """Owners come with tokens, match, compute the rest chunk by chunk, keep some, and go."""

    @initialize(
        num_pages=st.integers(1, 12),
        page_size=st.integers(1, 3),
        window=st.one_of(st.none(), st.integers(1, 9)),
        enabled=st.booleans(),
        within_pages=st.booleans(),
    )
    def build(self, num_pages, page_size, window, enabled, within_pages):
        self.cache = PrefixCache(num_pages, page_size, window=window, enabled=enabled, within_pages=within_pages)
        self.page_size = page_size
        self.window = window
        self.owners = []  # holding, tokens, how many of them are computed
        self.written = {}  # page -> (salt, tokens up to its end), as the device would hold it

    @rule(
        tokens=st.lists(st.integers(0, 1), min_size=1, max_size=14),
        salt=st.sampled_from(["", "a"]),
        priority=st.integers(0, 2),
    )
    def come(self, tokens, salt, priority):
        found = self.cache.matched_length(tokens, salt)
        held = self.cache.match(tokens, salt, priority)
        assert found == held.end * self.page_size
        self.cache.begin_step()
        page, count = self.cache.like(held, tokens)
        if count:
            assert self.written[page][0] == salt
            assert self.written[page][1][: found + count] == tokens[: found + count]
        self.owners.append([held, tokens, found])
        self.check_content(self.owners[-1])

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def compute(self, data):
        owner = data.draw(st.sampled_from(self.owners))
        held, tokens, computed = owner
        end = data.draw(st.integers(computed, len(tokens)))
        self.cache.advance(held, tokens, computed)
        missing = -(-end // self.page_size) - held.end
        if missing > 0:
            if not self.cache.can_allocate(missing):
                with pytest.raises(MemoryError):
                    self.cache.allocate(missing)
                return
            held.pages += self.cache.allocate(missing)
        for index in range(computed // self.page_size, -(-end // self.page_size)):
            self.written[held.since(index)[0]] = (held.salt, tokens[: min(end, (index + 1) * self.page_size)])
        owner[2] = end
        self.check_content(owner)

    def check_content(self, owner):
        """All that the owner's next token sees is held, and is what it should be."""
        held, tokens, computed = owner
        first = 0 if self.window is None else max(0, computed - self.window + 1)
        for index in range(first // self.page_size, -(-computed // self.page_size)):
            assert index >= held.first
            known = min(computed, (index + 1) * self.page_size)
            assert self.written[held.since(index)[0]] == (held.salt, tokens[:known])

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def keep(self, data):
        held, tokens, computed = data.draw(st.sampled_from(self.owners))
        self.cache.keep(held, tokens, computed)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def go(self, data):
        held, tokens, computed = self.owners.pop(data.draw(st.integers(0, len(self.owners) - 1)))
        if data.draw(st.booleans()):
            self.cache.keep_all(held, tokens, computed)
        self.cache.release(held)

    @rule()
    def flush(self):
        self.cache.flush()

    @invariant()
    def nothing_is_lost(self):
        if hasattr(self, "owners"):
            self.cache.check_integrity([held for held, _, _ in self.owners])
            for owner in self.owners:
                self.check_content(owner)
            if not self.owners:
                assert self.cache.num_available == self.cache.num_pages

    def teardown(self):
        if hasattr(self, "owners"):
            for held, _, _ in self.owners:
                self.cache.release(held)
            self.cache.flush()
            self.cache.check_integrity([])
            assert self.cache.num_cached == 0
            assert self.cache.allocate(self.cache.num_pages)


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def finished(cache, tokens, salt="", priority=0):
    """A sequence that came and went, computing two tokens (one page) at a time."""
    held = cache.match(tokens, salt, priority)
    for computed in range(held.end * 2, len(tokens), 2):
        cache.advance(held, tokens, computed)
        held.pages += cache.allocate(1)
    cache.keep(held, tokens, len(tokens))
    cache.release(held)


def taken_away(cache, count):
    """Pressure: as many pages go to somebody else, who is gone at once and leaves nothing behind."""
    pages = Holding(cache.allocate(count))
    cache.release(pages)


def test_a_prefix_is_found_again_in_its_own_name_space_only():
    cache = PrefixCache(10, 2)
    finished(cache, [1, 2, 3, 4, 5])
    assert cache.matched_length([1, 2, 3, 4, 9, 9]) == 4
    assert cache.matched_length([1, 2, 3, 9]) == 2
    assert cache.matched_length([1, 2, 3, 4], salt="tenant") == 0


def begun(cache, tokens, salt=""):
    """What a newcomer finds in a later step: full pages, then how many tokens more in a page to copy."""
    cache.begin_step()
    held = cache.match(tokens, salt)
    found = len(held.pages), cache.like(held, tokens)[1]
    cache.release(held)
    return found


def test_a_page_that_begins_alike_can_be_copied():
    cache = PrefixCache(10, 4, within_pages=True)
    held = cache.match([1] * 4 + [2, 2, 3, 3])
    held.pages += cache.allocate(2)
    cache.keep(held, [1] * 4 + [2, 2, 3, 3], 8)
    sibling = cache.match([1] * 4 + [2, 2, 9, 9])
    assert cache.like(sibling, [1] * 4 + [2, 2, 9, 9])[1] == 0, "this very step fills it"
    cache.release(sibling)
    assert begun(cache, [1] * 4 + [2, 2, 9, 9]) == (1, 2)
    assert begun(cache, [1] * 4 + [2, 2, 3]) == (1, 3)
    assert begun(cache, [1, 1]) == (0, 2)
    assert begun(cache, [7, 1]) == (0, 0)
    assert begun(cache, [1] * 4 + [2, 2, 9, 9], salt="tenant") == (0, 0)
    cache.release(held)


def test_where_a_sequence_ended_the_next_one_goes_on():
    cache = PrefixCache(10, 4, within_pages=True)
    held = cache.match([1] * 6)
    held.pages += cache.allocate(2)
    cache.keep_all(held, [1] * 6, 6)
    cache.release(held)
    assert begun(cache, [1] * 9) == (1, 2)
    taken_away(cache, 10)
    assert begun(cache, [1] * 9) == (0, 0)


def test_what_follows_a_prompt_seen_before_is_found_again():
    cache = PrefixCache(10, 4, within_pages=True)
    finished(cache, [1] * 4)
    held = cache.match([1] * 2)  # its last two tokens are computed, on a page like the one that is cached
    held.pages += cache.allocate(3)
    cache.keep(held, [1] * 4, 4)
    cache.keep_all(held, [1] * 4 + [2] * 5, 9)
    cache.check_integrity([held])
    cache.release(held)
    assert begun(cache, [1] * 4 + [2] * 8) == (2, 1)
    assert (cache.num_cached, cache.num_available) == (3, 10)


def test_whole_pages_only_unless_asked():
    cache = PrefixCache(10, 4)
    held = cache.match([1] * 6)
    held.pages += cache.allocate(2)
    cache.keep_all(held, [1] * 6, 6)
    cache.release(held)
    assert (begun(cache, [1] * 9), cache.num_cached) == ((1, 0), 1)


def test_the_least_recently_used_goes_first_and_leaves_before_their_parents():
    cache = PrefixCache(6, 2)
    finished(cache, [1, 1, 2, 2])
    finished(cache, [1, 1, 3, 3])
    finished(cache, [5, 5])
    cache.release(cache.match([1, 1, 2, 2]))
    taken_away(cache, 3)  # two were free, so one page goes: the branch used longest ago
    assert cache.matched_length([1, 1, 3, 3]) == 2
    assert cache.matched_length([1, 1, 2, 2]) == 4
    assert cache.matched_length([5, 5]) == 2
    taken_away(cache, 5)
    assert cache.matched_length([5, 5]) == 0
    assert cache.matched_length([1, 1, 2, 2]) == 2


def test_higher_priority_stays_longer():
    cache = PrefixCache(2, 2)
    finished(cache, [1, 1], priority=5)
    finished(cache, [2, 2])
    cache.release(cache.match([2, 2]))
    taken_away(cache, 1)
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


LONG = list(range(100, 116))  # eight pages of two


def test_what_lies_behind_the_window_is_let_go_but_found_while_it_lasts():
    cache = PrefixCache(8, 2, window=5)
    held = cache.match(LONG)
    held.pages += cache.allocate(8)
    assert cache.num_available == 0
    cache.advance(held, LONG, 16)  # the next token sees positions 12 to 16: pages 6 and 7
    assert (held.first, held.end, cache.num_available, cache.num_cached) == (6, 8, 6, 8)
    assert cache.matched_length(LONG) == 16
    assert cache.matched_length(LONG[:6]) == 6
    cache.release(held)


def test_a_prefix_needs_its_last_window_only():
    cache = PrefixCache(8, 2, window=5)
    finished(cache, LONG)
    taken_away(cache, 6)  # pages were let go from the front
    assert cache.matched_length(LONG[:12]) == 0
    held = cache.match(LONG)
    assert (held.first, held.end, len(held.pages)) == (6, 8, 2)
    cache.check_integrity([held])
    cache.release(held)
    taken_away(cache, 7)
    assert cache.matched_length(LONG) == 0


def test_hollow_places_are_filled_again():
    cache = PrefixCache(8, 2, window=5)
    finished(cache, LONG)
    taken_away(cache, 6)
    finished(cache, LONG[:8])  # computed once more
    assert cache.matched_length(LONG[:8]) == 8
    assert cache.matched_length(LONG) == 16
    cache.check_integrity([])


def test_a_forgotten_path_leaves_nothing_behind():
    cache = PrefixCache(8, 2, window=3)
    finished(cache, LONG, salt="tenant")
    cache.flush()
    assert cache.num_cached == 0
    assert not list(cache._tree.nodes())
    assert not cache._tree._top.children, "one root a tenant would stay for ever"


@pytest.mark.parametrize("page_size", [1, 3, 16])
@pytest.mark.parametrize("tokens", [1, 2, 5, 16, 40])
@pytest.mark.parametrize("chunk", [1, 7, 16])
def test_the_most_pages_are_what_the_worst_step_touches(page_size, tokens, chunk):
    window = PageWindow(page_size, tokens)
    worst = max(window.pages_for(start + chunk) - window.first_page(start) for start in range(200))
    assert window.most_pages(chunk) == worst
    assert window.longest_sequence(worst, chunk) is None
    assert window.longest_sequence(worst - 1, chunk) == (worst - 1) * page_size


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
