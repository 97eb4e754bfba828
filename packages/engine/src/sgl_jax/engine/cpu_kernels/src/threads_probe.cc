// A loop for tests: it needs neither XLA nor a matrix.
#include <atomic>
#include <cstdint>

#include "threads.h"

// The sum of all whole numbers below `count`, added up in pieces, each of which runs a loop of its own.
extern "C" int64_t sgl_probe_threads(int64_t count, int64_t grain) {
  std::atomic<int64_t> total{0};
  sgl::parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    sgl::parallel_for(end - begin, 1, [&, begin](int64_t first, int64_t last) {
      int64_t sum = 0;
      for (int64_t at = first; at < last; ++at) sum += begin + at;
      total.fetch_add(sum, std::memory_order_relaxed);
    });
  });
  return total.load(std::memory_order_relaxed);
}
