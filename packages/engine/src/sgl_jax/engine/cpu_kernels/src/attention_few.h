// Products of few queries with keys and of few weights with values, all of which are taken as they lie. Included like
// attention_vector.h, by the same files.
#pragma once

#include "attention_fetch.h"

namespace sgl::attention {
namespace {

// Queries that share a loaded vector: as many as there are registers for.
constexpr int kShared = kLanes == 16 ? 4 : 2;

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

// out[g] += weights[g, t] * values[t] over all t, for N pairs of vectors, the last of which has `rest` elements if
// Rest.
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

}  // namespace
}  // namespace sgl::attention
