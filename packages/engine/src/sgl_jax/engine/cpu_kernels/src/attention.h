// What the parts of paged attention tell each other. Axis letters as in attention/api.py: T tokens, R rows, P pages,
// S tokens a page, H query heads, K key/value heads, G = H / K, D head dimension.
//
// attention_ffi.h is what XLA calls; attention.cc cuts a call into units of work and merges what they leave;
// attention_single.h and attention_tile.h compute a unit, once for each instruction set.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "isa.h"

namespace sgl {

struct Projected;  // projected.h

}  // namespace sgl

namespace sgl::attention {

// How an element of the pools is stored; the numbers are known to attention/native.py.
enum class Element { float32 = 0, bfloat16 = 1, float8_e4m3 = 2, float8_e5m2 = 3, int8 = 4 };

static inline int bytes_of(Element element) {
  return element == Element::float32 ? 4 : element == Element::bfloat16 ? 2 : 1;
}

// Keys or values [P, S, K, D], and what each vector is multiplied by [P, S, K] or null.
struct Pool {
  uint8_t* data;
  const float* scale;
};

struct Call {
  const float* query;  // [T, H, D]
  float* out;          // [T, H, D]
  Pool keys, values;
  Element element;
  int64_t pages, page_size, kv_heads, groups, dim;
  const int32_t *row_start, *row_len, *kv_len, *slot;  // [R]
  const int32_t* block_table;                          // [slots, table_width]
  int64_t slots, table_width;
  int64_t page_offset;
  int64_t window;
  const float* sinks;  // [H] or null
  float scale;
  float softcap;  // 0 is none
  bool exact;     // nothing is rounded to bfloat16 but what the pools hold
  uint64_t number;  // no other call has it; `run` gives it
};

// Keys that a single token's unit covers at most, and where one sequence's units begin: at multiples of it. So what a
// sequence gets does not depend on its batch, nor on the number of threads.
constexpr int kChunk = 128;
// Queries (tokens times heads of one group) of a tile, and keys that it looks at together.
constexpr int kTileQueries = 96;
constexpr int kTileKeys = 64;
// Blocks of kTileKeys laid out for tiles that a thread keeps, at most, and the floats that they may take: less than the
// second cache has.
constexpr int kMostKept = 16;
constexpr int64_t kKeptFloats = 1 << 17;
static inline int64_t block_floats(int64_t dim) { return 2 * kTileKeys * ((dim + 31) / 32 * 32); }
static inline int kept_blocks(int64_t dim) {
  return static_cast<int>(std::min<int64_t>(kMostKept, kKeptFloats / block_floats(dim)));
}
// Groups up to this size are for the kernel of single tokens.
constexpr int kSingleGroups = 8;

// Queries of one row, and the keys [first_key, end_key) that they see or some of them see.
struct Unit {
  int32_t row;
  int32_t kv_head, kv_heads;    // first, and how many; a tile has one
  int32_t first_token, tokens;  // within the row
  int32_t first_group, groups;  // query heads of each key head
  int32_t first_key, end_key;
  const float* query;  // of a single token, [kv_heads * groups, D]
  // Where this unit leaves its share [kv_heads * groups, D + 2] (weighted sum, largest score, sum of weights) for
  // others to be added; null if it has all keys, and writes to `out`.
  float* share;
};

// Has memory begin with what a single token's unit will read first.
using Announce = void (*)(const Call& call, const Unit& unit);
// Computes a unit, announced before; `next` will come then and is announced meanwhile, null if nobody knows. `scratch`
// has scratch_floats and is aligned to 64 bytes.
using Kernel = void (*)(const Call& call, const Unit& unit, const Unit* next, float* scratch);
int64_t scratch_floats(const Call& call);
// Where in it a thread's blocks begin, untouched by whatever else it computes.
int64_t blocks_at(const Call& call);

// Stores a token's vectors [K, D] in the pool's format; `scale` [K] is for int8.
using Encode = void (*)(Element element, const float* from, uint8_t* to, float* scale, int64_t heads, int64_t dim);

struct Kernels {
  Announce announce;
  Kernel single;  // one token, up to kSingleGroups query heads a key head
  Kernel tile;
  Encode encode;
};

// Those for this machine.
const Kernels& kernels();

// Attention of all rows, for float32 [T, H, D] in call.out. If there are projected queries, keys and values, they take
// the place of call.query, and the pools get these keys and values; then no row has more than one token, groups are for
// the kernel of single tokens, and pools have no scales.
void run(Call call, int64_t rows, int64_t tokens, const Projected* projected);

extern const Kernels portable_kernels;
#if defined(SGL_X86)
extern const Kernels avx2_kernels, avx512_kernels;

// Tiles with products of pairs of bfloat16, for AVX512 with BF16, or AMX, and pools of anything but floats.
void tile_of_pairs(const Call& call, const Unit& unit, const Unit* next, float* scratch);
void tile_by_amx(const Call& call, const Unit& unit, const Unit* next, float* scratch);
#endif

// Where the elements of token `key` of a row lie, for key head 0.
static inline int64_t place_of(const Call& call, int64_t row, int64_t key) {
  const auto clip = [](int64_t x, int64_t size) { return x < 0 ? 0 : x >= size ? size - 1 : x; };
  const int64_t column = clip(key / call.page_size, call.table_width);
  const int64_t page = call.block_table[clip(call.slot[row], call.slots) * call.table_width + column];
  return (clip(page + call.page_offset, call.pages) * call.page_size + key % call.page_size) * call.kv_heads;
}

// What a head's weighted sum is divided by: the sum of its weights, and the sink's, if there are sinks.
static inline float divisor(const Call& call, int64_t head, float top, float total) {
  return call.sinks == nullptr ? total : total + std::exp(call.sinks[head] - top);
}

}  // namespace sgl::attention
