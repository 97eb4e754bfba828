// A loop over [0, count) on several cores.
//
// One pool of persistent threads serves the process. A loop is cut into pieces that the caller and whichever threads
// are awake take one by one, so a core that is busy elsewhere takes fewer of them and nobody waits for a thread that
// has not begun. XLA runs independent kernels at the same time: a loop that finds the pool taken runs on its caller
// alone.
#pragma once

#include <cstdint>
#include <type_traits>

namespace sgl {

// Threads that loops may use, their caller included; at least one. Takes effect with the next loop. Threads beyond a
// smaller number than before sleep on.
void set_num_threads(int count);
int num_threads();

// Do not use directly; see parallel_for.
using PieceFunction = void (*)(void* body, int64_t begin, int64_t end);
void run_pieces(int64_t count, int64_t grain, PieceFunction function, void* body);

// Runs body(begin, end) over [0, count) in pieces of at least `grain` (but for the last one), on the pool's threads
// and the caller, in any order; returns when all is done. What the body writes is then visible to the caller. The
// body must not throw. A loop inside of a body runs on its caller alone.
template <class Body>
void parallel_for(int64_t count, int64_t grain, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  run_pieces(
      count, grain, [](void* erased, int64_t begin, int64_t end) { (*static_cast<Plain*>(erased))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace sgl
