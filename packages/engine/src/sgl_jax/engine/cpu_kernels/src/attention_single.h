// Attention of one token: few queries, each key is used a few times only, so keys are taken as they lie and the speed
// is that of memory. Included like attention_vector.h, by the same files.
//
// All scores of the unit, then their softmax, then the weighted sum of values: two passes over at most kChunk tokens, in
// each of which all key heads of a few tokens are looked at together, since they lie together.
#pragma once

#include "attention_storage.h"

namespace sgl::attention {
namespace {

// Tokens looked at together: a head's elements stay in the first cache while one group of queries after the other uses
// them, and formats of one byte are widened this many at a time.
constexpr int kBlock = 32;
// Tokens between the one that is looked at and the one that is fetched from memory.
constexpr int kAhead = 32;
// Bytes whose addresses the machine translates together.
constexpr int64_t kTranslated = 4096;
// Queries that share a loaded vector: as many as there are registers for.
constexpr int kShared = kLanes == 16 ? 4 : 2;

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

// Has the addresses of keys and values translated, long before they are fetched: a fetch that had to wait for that would
// hold up those behind it.
SGL_FETCH translate(const Call& call, const int64_t* places, int count) {
  const int64_t bytes = call.dim * bytes_of(call.element);
  int step = 1;
  while (2 * step * call.kv_heads * bytes <= kTranslated) step *= 2;
  for (int t = 0; t < count; t += step) {
    __builtin_prefetch(call.keys.data + places[t] * bytes, 0, 2);
    __builtin_prefetch(call.values.data + places[t] * bytes, 0, 2);
  }
}

// scores[g, t] = query[g] . keys[t], for G queries [G, width] in the order of load_pair<T>. Pointers to keys go on
// after `count`, up to a multiple of kLanes.
template <int G, class T>
void score(const T* const* keys, int count, int dim, const float* query, int64_t width, float* scores,
           const Later& later) {
  const int rest = dim % (2 * kLanes), even = dim - rest;
  for (int t = 0; t < count; t += kLanes) {
    Vec sums[kLanes / 4][G];
    for (int quad = 0; quad < kLanes / 4; ++quad) {
      const T* const* four = keys + t + 4 * quad;
      for (int i = 0; i < 4; ++i) fetch(later, t + 4 * quad + i);
      Vec products[4][G] = {};
      const auto add = [&](int d, const auto& load_key) {
        for (int i = 0; i < 4; ++i) {
          const Pair key = load_key(four[i] + d);
          for (int g = 0; g < G; ++g) {
            const float* q = query + g * width + d;
            products[i][g] = fma(key.first, load(q), products[i][g]);
            products[i][g] = fma(key.second, load(q + kLanes), products[i][g]);
          }
        }
      };
      for (int d = 0; d < even; d += 2 * kLanes) add(d, [](const T* from) { return load_pair(from); });
      if (rest > 0) add(even, [rest](const T* from) { return load_pair(from, rest); });
      for (int g = 0; g < G; ++g) {
        sums[quad][g] = add_pairs(add_pairs(products[0][g], products[1][g]), add_pairs(products[2][g], products[3][g]));
      }
    }
    for (int g = 0; g < G; ++g) {
      Vec total = sums[0][g];
      if constexpr (kLanes == 8) total = add_pairs(sums[0][g], sums[1][g]);
      if constexpr (kLanes == 16) {
        total = add_pairs(add_pairs(sums[0][g], sums[1][g]), add_pairs(sums[2][g], sums[3][g]));
      }
      store(scores + g * kChunk + t, total);
    }
  }
}

// out[g] += weights[g, t] * values[t] over all t, for N pairs of vectors, the last of which has `rest` elements if Rest.
template <int G, int N, bool Rest, class T>
void weigh(const T* const* values, int count, int from, int rest, const float* weights, float* out, int64_t width,
           const Later& later) {
  Vec sums[G][2 * N];
  for (int g = 0; g < G; ++g) {
    for (int n = 0; n < 2 * N; ++n) sums[g][n] = load(out + g * width + from + n * kLanes);
  }
  for (int t = 0; t < count; ++t) {
    fetch(later, t);
    for (int n = 0; n < N; ++n) {
      const T* place = values[t] + from + n * 2 * kLanes;
      const Pair value = Rest ? load_pair(place, rest) : load_pair(place);
      for (int g = 0; g < G; ++g) {
        const Vec weight = all(weights[g * kChunk + t]);
        sums[g][2 * n] = fma(weight, value.first, sums[g][2 * n]);
        sums[g][2 * n + 1] = fma(weight, value.second, sums[g][2 * n + 1]);
      }
    }
  }
  for (int g = 0; g < G; ++g) {
    for (int n = 0; n < 2 * N; ++n) store(out + g * width + from + n * kLanes, sums[g][n]);
  }
}

template <int G, class T>
void weigh_all(const T* const* values, int count, int dim, const float* weights, float* out, int64_t width,
               Later later) {
  constexpr int kPair = 2 * kLanes;
  int from = 0;
  for (; from + 2 * kPair <= dim; from += 2 * kPair, later.count = 0) {
    weigh<G, 2, false>(values, count, from, 0, weights, out, width, later);
  }
  for (; from + kPair <= dim; from += kPair, later.count = 0) {
    weigh<G, 1, false>(values, count, from, 0, weights, out, width, later);
  }
  if (from < dim) weigh<G, 1, true>(values, count, from, dim - from, weights, out, width, later);
}

// Calls `run` with the number of queries as a constant: all of them, kShared at a time.
template <class Run>
void in_groups(int groups, const Run& run) {
  for (int g = 0; g < groups; g += kShared) {
    const int left = groups - g;
    if (kShared >= 4 && left >= 4) {
      run(std::integral_constant<int, kShared>{}, g);
    } else if (kShared >= 4 && left == 3) {
      run(std::integral_constant<int, kShared >= 4 ? 3 : 1>{}, g);
    } else if (left >= 2) {
      run(std::integral_constant<int, 2>{}, g);
    } else {
      run(std::integral_constant<int, 1>{}, g);
    }
  }
}

// Calls run(head, pointers, first, count, later) for blocks of `count` vectors, which lie at `from` in the stream, for
// each key head; T is what run sees, floats for formats of a byte. There are kBlock pointers, however many count.
template <class T, class Run>
void in_blocks(const Call& call, const Unit& unit, const Stream& stream, int from, int count, float* widened,
               const Run& run) {
  const int64_t bytes = call.dim * bytes_of(call.element);
  for (int first = 0; first < count; first += kBlock) {
    const int size = smaller(kBlock, count - first), ahead = from + first + kAhead;
    const int known = greater(smaller(size, stream.count - ahead), 0);
    for (int head = 0; head < unit.kv_heads; ++head) {
      const T* pointers[kBlock];
      for (int t = 0; t < size; ++t) {
        const uint8_t* stored = stream.vectors[from + first + t] + head * bytes;
        if (sizeof(T) == 4 && bytes_of(call.element) == 1) {
          widen(call.element, stored, widened + t * call.dim, call.dim);
          pointers[t] = reinterpret_cast<const T*>(widened + t * call.dim);
        } else {
          pointers[t] = reinterpret_cast<const T*>(stored);
        }
      }
      for (int t = size; t < kBlock; ++t) pointers[t] = pointers[size - 1];
      run(head, pointers, first, size, Later{stream.vectors + ahead, known, head * bytes, bytes});
    }
  }
}

// Scores [0, count) become weights; `top` and `total` are their largest and their sum.
inline void soften(const Call& call, const float* scales, float* scores, int count, float& top, float& total) {
  const int padded = static_cast<int>(round_up(count, kLanes));
  if (scales != nullptr) {
    for (int t = 0; t < count; ++t) scores[t] *= scales[t];
  }
  if (call.softcap > 0) {
    const Vec cap = all(call.softcap), inverse = all(1.0f / call.softcap);
    for (int t = 0; t < padded; t += kLanes) store(scores + t, cap * tanh(load(scores + t) * inverse));
  }
  for (int t = count; t < padded; ++t) scores[t] = kMasked;
  Vec tops = all(kMasked), totals = {};
  for (int t = 0; t < padded; t += kLanes) tops = larger(load(scores + t), tops);
  top = largest(tops);
  for (int t = 0; t < padded; t += kLanes) {
    const Vec weight = exp(load(scores + t) - top);
    totals += weight;
    store(scores + t, weight);
  }
  total = sum(totals);
}

inline void collect(const float* all_scales, const int64_t* places, int head, int count, float* scales) {
  for (int t = 0; t < count; ++t) scales[t] = all_scales[places[t] + head];
}

inline void announce(const Call& call, const Unit& unit) {
  int64_t places[kChunk];
  const int count = unit.end_key - unit.first_key;
  find_places(call, unit, unit.first_key, unit.end_key, places);
  translate(call, places, count);
  const int64_t bytes = call.dim * bytes_of(call.element);
  for (int t = 0; t < smaller(count, kAhead); ++t) fetch(call.keys.data + places[t] * bytes, unit.kv_heads * bytes);
}

template <class T>
void attend_single(const Call& call, const Unit& unit, const Unit* next, float* scratch) {
  const int groups = unit.groups, heads = unit.kv_heads * groups;
  const int dim = static_cast<int>(call.dim), count = unit.end_key - unit.first_key;
  const int64_t width = round_up(dim, 2 * kLanes);
  float* query = scratch;                    // [heads, width]
  float* sums = query + heads * width;       // [heads, width]
  float* weights = sums + heads * width;     // [heads, kChunk]
  float* ends = weights + heads * kChunk;    // [heads, 2]: largest score, sum of weights
  float* widened = ends + 2 * heads;         // [kBlock, D]

  int64_t places[kChunk];
  Stream stream{};
  stream.bytes = unit.kv_heads * call.dim * bytes_of(call.element);
  find_places(call, unit, unit.first_key, unit.end_key, places);
  append(call, call.keys, places, count, stream);
  append(call, call.values, places, count, stream);
  if (next != nullptr) {
    const int later = smaller(next->end_key - next->first_key, kChunk);  // a tile has more
    int64_t later_places[kChunk];
    find_places(call, *next, next->first_key, next->first_key + later, later_places);
    translate(call, later_places, later);
    append(call, call.keys, later_places, smaller(later, kAhead), stream);
  }

  std::memset(query, 0, 2 * heads * width * sizeof(float));
  for (int h = 0; h < heads; ++h) {
    for (int d = 0; d < dim; ++d) query[h * width + d] = unit.query[h * dim + d] * call.scale;
  }
  arrange<T>(query, heads * width);

  in_blocks<T>(call, unit, stream, 0, count, widened, [&](int h, const T* const* keys, int first, int size, const Later& later) {
    in_groups(groups, [&](auto number, int g) {
      const int own = h * groups + g;
      score<decltype(number)::value>(keys, size, dim, query + own * width, width, weights + own * kChunk + first,
                                     g == 0 ? later : Later{});
    });
  });
  float scales[kChunk];
  for (int h = 0; h < heads; ++h) {
    const bool scaled = call.keys.scale != nullptr;
    float* own = weights + h * kChunk;
    if (scaled) collect(call.keys.scale, places, h / groups, count, scales);
    soften(call, scaled ? scales : nullptr, own, count, ends[2 * h], ends[2 * h + 1]);
    if (scaled) {
      collect(call.values.scale, places, h / groups, count, scales);
      for (int t = 0; t < count; ++t) own[t] *= scales[t];
    }
  }
  in_blocks<T>(call, unit, stream, count, count, widened, [&](int h, const T* const* values, int first, int size, const Later& later) {
    in_groups(groups, [&](auto number, int g) {
      const int own = h * groups + g;
      weigh_all<decltype(number)::value>(values, size, dim, weights + own * kChunk + first, sums + own * width, width,
                                         g == 0 ? later : Later{});
    });
  });

  restore<T>(sums, heads * width);
  const int64_t head = unit.kv_head * call.groups;
  float* out = call.out + (call.row_start[unit.row] * call.kv_heads * call.groups + head) * dim;
  for (int h = 0; h < heads; ++h) {
    const float top = ends[2 * h], total = ends[2 * h + 1];
    if (unit.share != nullptr) {
      float* share = unit.share + h * (dim + 2);
      std::memcpy(share, sums + h * width, dim * sizeof(float));
      share[dim] = top, share[dim + 1] = total;
    } else {
      const float inverse = 1.0f / divisor(call, head + h, top, total);
      for (int d = 0; d < dim; ++d) out[h * dim + d] = sums[h * width + d] * inverse;
    }
  }
}

inline void single(const Call& call, const Unit& unit, const Unit* next, float* scratch) {
  if (call.element == Element::bfloat16) return attend_single<uint16_t>(call, unit, next, scratch);
  attend_single<float>(call, unit, next, scratch);
}

}  // namespace
}  // namespace sgl::attention
