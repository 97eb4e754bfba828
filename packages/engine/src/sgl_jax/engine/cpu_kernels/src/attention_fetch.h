// What a single token's unit reads, fetched from memory before it is used. Included like attention_vector.h, by the
// same files.
#pragma once

#include "attention_storage.h"

namespace sgl::attention {
namespace {

// Tokens between the one that is looked at and the one that is fetched from memory.
constexpr int kAhead = 32;
// Bytes whose addresses the machine translates together.
constexpr int64_t kTranslated = 4096;

// Where all the vectors lie that a unit will use, in this order, and then some of the next unit's. Reading ahead in it
// keeps the memory busy; the machine itself foresees only what lies in a row, which ends with every page.
struct Stream {
  const uint8_t* vectors[2 * kChunk + kAhead];
  int count;
  int64_t bytes;  // of a token's vectors
};

inline void append(const Call& call, const Pool& pool, const int64_t* places, int count, Stream& stream) {
  const int64_t bytes = call.dim * bytes_of(call.element);
  for (int t = 0; t < count; ++t) stream.vectors[stream.count++] = pool.data + places[t] * bytes;
}

// GCC takes a function that does nothing but fetch for one that does nothing, and leaves out calls of it.
#define SGL_FETCH inline __attribute__((always_inline)) void

// Into the second cache: the first is too small.
SGL_FETCH fetch(const uint8_t* from, int64_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(from);
  for (uintptr_t line = at & ~uintptr_t{63}; line < at + bytes; line += 64) {
    __builtin_prefetch(reinterpret_cast<const void*>(line), 0, 2);
  }
}

// One head's share of vectors that a stream names later, to be fetched one by one between arithmetic: a processor that
// is told many at once waits until memory has given the first of them.
struct Later {
  const uint8_t* const* vectors;
  int count;
  int64_t offset, bytes;
};

SGL_FETCH fetch(const Later& later, int index) {
  if (index < later.count) fetch(later.vectors[index] + later.offset, later.bytes);
}

// Has the addresses of keys and values translated, long before they are fetched: a fetch that had to wait for that
// would hold up those behind it.
SGL_FETCH translate(const Call& call, const int64_t* places, int count) {
  const int64_t bytes = call.dim * bytes_of(call.element);
  int step = 1;
  while (2 * step * call.kv_heads * bytes <= kTranslated) step *= 2;
  for (int t = 0; t < count; t += step) {
    __builtin_prefetch(call.keys.data + places[t] * bytes, 0, 2);
    __builtin_prefetch(call.values.data + places[t] * bytes, 0, 2);
  }
}

}  // namespace
}  // namespace sgl::attention
