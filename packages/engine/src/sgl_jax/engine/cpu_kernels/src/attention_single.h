// Attention of one token: few queries, each key is used a few times only, so keys are taken as they lie and the speed
// is that of memory. Included like attention_vector.h, by the same files.
//
// All scores of the unit, then their softmax, then the weighted sum of values: two passes over at most kChunk tokens,
// in each of which all key heads of a few tokens are looked at together, since they lie together.
#pragma once

#include "attention_few.h"

namespace sgl::attention {
namespace {

// Tokens looked at together: a head's elements stay in the first cache while one group of queries after the other uses
// them, and formats of one byte are widened this many at a time.
constexpr int kBlock = 32;

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

  const auto find_scores = [&](int h, const T* const* keys, int first, int size, const Later& later) {
    in_groups(groups, [&](auto number, int g) {
      const int own = h * groups + g;
      score<decltype(number)::value>(keys, size, dim, query + own * width, width, weights + own * kChunk + first,
                                     g == 0 ? later : Later{});
    });
  };
  in_blocks<T>(call, unit, stream, 0, count, widened, find_scores);
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
  const auto add_values = [&](int h, const T* const* values, int first, int size, const Later& later) {
    in_groups(groups, [&](auto number, int g) {
      const int own = h * groups + g;
      weigh_all<decltype(number)::value>(values, size, dim, weights + own * kChunk + first, sums + own * width, width,
                                         g == 0 ? later : Later{});
    });
  };
  in_blocks<T>(call, unit, stream, count, count, widened, add_values);

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
