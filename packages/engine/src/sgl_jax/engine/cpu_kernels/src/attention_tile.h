// Attention of many queries that share a key head: a chunk of a prompt, or one token of very many heads. Keys and
// values are used by all queries of the tile, so they are first laid out for that (keys transposed), kTileKeys at a
// time; what remains are two products of small matrices around a running softmax (Milakov & Gimelshein 2018, "Online
// normalizer calculation for softmax", section 3). Included like attention_vector.h, by the same files.
#pragma once

#include "attention_laid.h"
#include "attention_product.h"

namespace sgl::attention {
namespace {

static_assert(kTileQueries % kRows == 0);

// What is known of the tile so far. Matrices are [rows, columns], rows one after the other, and what is multiplied lies
// in cells of C numbers (attention_cells.h).
struct TileState {
  float* query;   // [Q, D / C], scaled; Q a multiple of kRows
  float* sums;    // [Q, width]
  float* scores;  // [Q, kTileKeys], then weights, in the first of these places / C
  float top[kTileQueries], total[kTileQueries], fade[kTileQueries];
};

// The numbers of a vector's lanes, from `first` on.
inline Ints lane_numbers(int first) {
  Ints numbers;
  for (int i = 0; i < kLanes; ++i) numbers[i] = static_cast<uint32_t>(first + i);
  return numbers;
}

// Scores become weights, for query `q`, which sees lanes [low, high) of the block. Those from `end` on are not needed.
inline void soften_row(const Call& call, const float* scales, int low, int high, int end, int q, TileState& state) {
  float* scores = state.scores + q * kTileKeys;
  constexpr int kVectors = kTileKeys / kLanes;
  Vec found[kVectors], tops = all(kMasked);
  const Ints seen_from = Ints{} + static_cast<uint32_t>(low), seen = Ints{} + static_cast<uint32_t>(high - low);
  for (int v = 0; v < kVectors; ++v) {
    const int t = v * kLanes;
    if (t >= end) break;
    Vec score = load(scores + t);
    if (scales != nullptr) score = score * load(scales + t);
    if (call.softcap > 0) score = call.softcap * tanh(score * (1.0f / call.softcap));
    if (low > t || high < t + kLanes) score = lane_numbers(t) - seen_from < seen ? score : all(kMasked);
    found[v] = score;
    tops = larger(score, tops);
  }
  const float before = state.top[q], highest = largest(tops);
  const float top = highest > before ? highest : before;
  Vec totals = {};
  for (int v = 0; v < kVectors; ++v) {
    if (v * kLanes >= end) break;
    const Vec weight = exp(found[v] - top);
    totals += weight;
    store(scores + v * kLanes, weight);
  }
  state.top[q] = top;
  state.fade[q] = exp(all(before - top))[0];
  state.total[q] = state.total[q] * state.fade[q] + sum(totals);
}

// Calls use(vectors, from) for [0, count) in steps of a panel, and of single vectors at the end.
template <class Use>
inline void by_panels(int64_t count, Use&& use) {
  int64_t at = 0;
  for (; at + kPanel <= count; at += kPanel) use(std::integral_constant<int, kColumns>{}, at);
  for (; at < count; at += kLanes) use(std::integral_constant<int, 1>{}, at);
}

inline void tile(const Call& call, const Unit& unit, const Unit*, float* scratch) {
  const int dim = static_cast<int>(call.dim), groups = unit.groups;
  const int queries = unit.tokens * groups;
  const int padded = static_cast<int>(round_up(queries, kRows)), cells = static_cast<int>(padded_cells(dim));
  const int64_t width = round_up(dim, kLanes);
  const int64_t heads = call.kv_heads * call.groups, head = unit.kv_head * call.groups + unit.first_group;
  const int64_t token = call.row_start[unit.row] + unit.first_token;
  const int first_position = call.kv_len[unit.row] - call.row_len[unit.row] + unit.first_token;
#if defined(__AMX_BF16__)
  const TileShapes shapes;
#endif
  TileState state;
  state.query = scratch;
  state.sums = state.query + padded * round_up(dim, 16);
  state.scores = state.sums + padded * width;
  float *widened = state.scores + padded * kTileKeys, *blocks = scratch + blocks_at(call);
  std::memset(state.query, 0, padded * cells * sizeof(float));
  std::memset(state.sums, 0, padded * width * sizeof(float));
  for (int q = 0; q < padded; ++q) state.top[q] = kMasked, state.total[q] = 0;
  for (int q = 0; q < queries; ++q) {
    const float* from = call.query + ((token + q / groups) * heads + head + q % groups) * dim;
    for (int d = 0; d < dim; ++d) widened[d] = from[d] * call.scale;
    clear_after(widened, dim);
    pack(widened, dim, state.query + q * cells);
  }

  const bool scaled = call.keys.scale != nullptr;
  for (int block = unit.first_key / kTileKeys * kTileKeys; block < unit.end_key; block += kTileKeys) {
    const int first = greater(block, unit.first_key), count = smaller(block + kTileKeys, unit.end_key) - first;
    int64_t places[kTileKeys];
    float scales[kTileKeys] = {};
    find_places(call, unit, first, first + count, places);
    for (int t = 0; scaled && t < count; ++t) scales[t] = call.keys.scale[places[t]];
    const Laid laid = laid_out(call, block / kTileKeys, places, count, widened, blocks);
    for (int q = 0; q < padded; q += kRows) {
      const auto position_of = [&](int query) { return first_position + smaller(query, queries - 1) / groups; };
      // Keys that the last of these queries sees.
      const int end = smaller(position_of(q + kRows - 1) + 1 - first, count);
      if (end <= 0) continue;
      float* weights = state.scores + q * kTileKeys;
      by_panels(end, [&](auto vectors, int64_t t) {
        const float* keys = laid.keys + t / kPanel * cells * kPanel + t % kPanel;
        multiply<decltype(vectors)::value>(state.query + q * cells, cells, keys, kPanel, cells, nullptr, weights + t,
                                           kTileKeys);
      });
      for (int own = q; own < q + kRows; ++own) {
        const int64_t seen_from = position_of(own) + 1 - call.window - first;
        const int low = seen_from > 0 ? static_cast<int>(seen_from < end ? seen_from : end) : 0;
        const int high = greater(smaller(position_of(own) + 1 - first, end), low);
        soften_row(call, scaled ? scales : nullptr, low, high, end, own, state);
        float* row = state.scores + own * kTileKeys;
        for (int t = 0; scaled && t < end; ++t) row[t] *= call.values.scale[places[t]];
        clear_after(row, end);
        pack(row, end, row);
      }
      by_panels(width, [&](auto vectors, int64_t d) {
        multiply<decltype(vectors)::value>(weights, kTileKeys, laid.values + d, width,
                                           static_cast<int>(padded_cells(end)), state.fade + q,
                                           state.sums + q * width + d, width);
      });
    }
  }

  for (int q = 0; q < queries; ++q) {
    const int64_t place = (token + q / groups) * heads + head + q % groups;
    const float inverse = 1.0f / divisor(call, head + q % groups, state.top[q], state.total[q]);
    for (int d = 0; d < dim; ++d) call.out[place * dim + d] = state.sums[q * width + d] * inverse;
  }
}

}  // namespace
}  // namespace sgl::attention
