// Paged attention: cuts a call into units of work, shares them out among the threads, and merges what they leave.
#include "attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "projected.h"
#include "threads.h"

namespace sgl::attention {
namespace {

// Multiply-adds below which waking another thread costs more than it brings.
constexpr int64_t kWorthSharing = 30'000;

// Floats of a chunk's share that a thread merges at least.
constexpr int64_t kMergeTogether = 16384;

// A token of several units, whose shares [chunks, H, D + 2] lie one after the other.
struct Merge {
  int64_t token;
  int32_t chunks;
  float* shares;
};

struct Work {
  std::vector<Unit> units;
  std::vector<Merge> merges;
  std::vector<float> shares;
};

int64_t heads_of(const Call& call) { return call.kv_heads * call.groups; }

int64_t share_size(const Call& call) { return heads_of(call) * (call.dim + 2); }

int32_t first_seen(const Call& call, int64_t position) {
  return static_cast<int32_t>(std::max<int64_t>(position + 1 - call.window, 0));
}

bool is_single(const Call& call, int64_t row) { return call.row_len[row] == 1 && call.groups <= kSingleGroups; }

// How many units of `heads` key heads each chunk becomes: one if there are chunks enough for all threads.
int32_t heads_together(const Call& call, int64_t chunks) {
  const int64_t parts = std::clamp<int64_t>(2 * num_threads() / std::max<int64_t>(chunks, 1), 1, call.kv_heads);
  return static_cast<int32_t>((call.kv_heads + parts - 1) / parts);
}

// One token: kChunk keys a unit.
void cut_single(const Call& call, int32_t row, int32_t heads, Work& work, float*& shares) {
  const int32_t end = call.kv_len[row], first = first_seen(call, end - 1);
  const int32_t first_chunk = first / kChunk, chunks = (end + kChunk - 1) / kChunk - first_chunk;
  const auto kv_heads = static_cast<int32_t>(call.kv_heads), groups = static_cast<int32_t>(call.groups);
  for (int32_t chunk = 0; chunk < chunks; ++chunk) {
    const int32_t begin = (first_chunk + chunk) * kChunk;
    for (int32_t head = 0; head < kv_heads; head += heads) {
      float* share = chunks == 1 ? nullptr : shares + chunk * share_size(call) + head * groups * (call.dim + 2);
      work.units.push_back({row, head, std::min(heads, kv_heads - head), 0, 1, 0, groups, std::max(begin, first),
                            std::min(begin + kChunk, end), nullptr, share});
    }
  }
  if (chunks > 1) {
    work.merges.push_back({call.row_start[row], chunks, shares});
    shares += chunks * share_size(call);
  }
}

void cut_tiles(const Call& call, int32_t row, int32_t head, Work& work) {
  const int32_t tokens = call.row_len[row], before = call.kv_len[row] - tokens;
  const auto groups = static_cast<int32_t>(std::min<int64_t>(call.groups, kTileQueries));
  const int32_t step = std::max(kTileQueries / groups, 1);
  for (int32_t group = 0; group < call.groups; group += groups) {
    const int32_t own = std::min<int32_t>(groups, static_cast<int32_t>(call.groups) - group);
    for (int32_t token = 0; token < tokens; token += step) {
      const int32_t count = std::min(step, tokens - token);
      const int32_t first = first_seen(call, before + token), end = before + token + count;
      work.units.push_back({row, head, 1, token, count, group, own, first, end, nullptr, nullptr});
    }
  }
}

// Units, a part of them for each thread, which helps others when its own are done. Tokens that lie together fall to one
// thread, mostly the one that computes with them before and after attention: see product.h.
class Queue {
 public:
  Queue(const std::vector<Unit>& units, int64_t parts) : units_(units), taken_(parts) {
    for (int64_t part = 0; part < parts; ++part) taken_[part].count.store(begin(part), std::memory_order_relaxed);
  }

  // Null if there are no more.
  const Unit* take(int64_t own) {
    const auto parts = static_cast<int64_t>(taken_.size());
    for (int64_t i = 0; i < parts; ++i) {
      if (const Unit* unit = take_from((own + i) % parts); unit != nullptr) return unit;
    }
    return nullptr;
  }

  // Of a part's units, or behind the last one of the part before.
  const Unit* first(int64_t part) const { return units_.data() + begin(part); }

  // The thread's next unit while it has one still to do, null if it should rather look around then.
  const Unit* take_early(int64_t own) { return take_from(own); }

 private:
  int64_t begin(int64_t part) const {
    return part * static_cast<int64_t>(units_.size()) / static_cast<int64_t>(taken_.size());
  }

  const Unit* take_from(int64_t part) {
    const int64_t index = taken_[part].count.fetch_add(1, std::memory_order_relaxed);
    return index < begin(part + 1) ? &units_[index] : nullptr;
  }

  // On a line of its own: each is written by one thread, mostly.
  struct alignas(64) Taken {
    std::atomic<int64_t> count;
  };

  const std::vector<Unit>& units_;
  std::vector<Taken> taken_;
};

// Fills `work` anew.
void cut(const Call& call, int32_t rows, Work& work) {
  work.units.clear(), work.merges.clear();
  int64_t chunks = 0;
  for (int32_t row = 0; row < rows; ++row) {
    if (is_single(call, row) && call.kv_len[row] > 0) chunks += call.kv_len[row] / kChunk + 1;
  }
  const auto floats = static_cast<size_t>(chunks * share_size(call));
  if (work.shares.size() < floats) work.shares.resize(floats);
  float* shares = work.shares.data();
  const int32_t heads = heads_together(call, chunks);
  const auto lives = [&call](int32_t row) { return call.row_len[row] > 0 && call.kv_len[row] >= call.row_len[row]; };
  for (int32_t row = 0; row < rows; ++row) {
    if (lives(row) && is_single(call, row)) cut_single(call, row, heads, work, shares);
  }
  // Tiles that see the same keys follow each other, those of different rows, too: see attention_laid.h.
  for (int32_t head = 0; head < call.kv_heads; ++head) {
    for (int32_t row = 0; row < rows; ++row) {
      if (lives(row) && !is_single(call, row)) cut_tiles(call, row, head, work);
    }
  }
}

void merge(const Call& call, const Merge& merge) {
  const int64_t dim = call.dim, heads = heads_of(call);
  for (int64_t head = 0; head < heads; ++head) {
    const auto share = [&](int chunk) { return merge.shares + (chunk * heads + head) * (dim + 2); };
    float top = share(0)[dim], total = 0;
    for (int chunk = 1; chunk < merge.chunks; ++chunk) top = std::max(top, share(chunk)[dim]);
    float* out = call.out + (merge.token * heads + head) * dim;
    std::fill(out, out + dim, 0.0f);
    for (int chunk = 0; chunk < merge.chunks; ++chunk) {
      const float* from = share(chunk);
      const float weight = std::exp(from[dim] - top);
      total += weight * from[dim + 1];
      for (int64_t d = 0; d < dim; ++d) out[d] += weight * from[d];
    }
    const float inverse = 1.0f / divisor(call, head, top, total);
    for (int64_t d = 0; d < dim; ++d) out[d] *= inverse;
  }
}

// XLA leaves the result as it finds it, and tokens of no row must hold something finite.
void clear_padding(const Call& call, int64_t rows, int64_t tokens) {
  if (std::accumulate(call.row_len, call.row_len + rows, int64_t{0}) == tokens) return;
  std::vector<bool> lives(tokens);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t t = 0; t < call.row_len[row]; ++t) lives[call.row_start[row] + t] = true;
  }
  const int64_t size = heads_of(call) * call.dim;
  for (int64_t token = 0; token < tokens; ++token) {
    if (!lives[token]) std::memset(call.out + token * size, 0, size * sizeof(float));
  }
}

// Kept from call to call, one for each thread.
float* scratch(int64_t floats) {
  static thread_local std::vector<float> memory;
  if (static_cast<int64_t>(memory.size()) < floats + 16) memory.resize(floats + 16);
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) & ~uintptr_t{63});
}

// Turns a single token's queries of a unit, into `memory`.
const float* turned_queries(const Call& call, const Projected& projected, const Unit& unit, float* memory) {
  const int64_t token = call.row_start[unit.row], heads = unit.kv_heads * call.groups;
  for (int64_t head = 0; head < heads; ++head) {
    const float* query = projected.query(token, unit.kv_head * call.groups + head);
    turn(projected, token, query, projected.query_norm, memory + head * call.dim);
  }
  return memory;
}

// Stores a single token's keys and values if they are the last that the unit sees, which is so for one of its units.
void store(const Call& call, const Projected& projected, const Unit& unit, float* memory) {
  if (unit.end_key < call.kv_len[unit.row]) return;
  const int64_t token = call.row_start[unit.row], dim = call.dim;
  for (int64_t head = 0; head < unit.kv_heads; ++head) {
    turn(projected, token, projected.key(token, unit.kv_head + head), projected.key_norm, memory + head * dim);
  }
  const int64_t place = place_of(call, unit.row, unit.end_key - 1) + unit.kv_head;
  const int64_t at = place * dim * bytes_of(call.element);
  const Encode encode = kernels().encode;
  encode(call.element, memory, call.keys.data + at, nullptr, unit.kv_heads, dim);
  encode(call.element, projected.value(token, unit.kv_head), call.values.data + at, nullptr, unit.kv_heads, dim);
}

// The kernel for a call's tiles: pairs of bfloat16 where the processor, the pool and whoever asks allow them.
Kernel tile_kernel(const Call& call) {
  const Kernel tile = kernels().tile;
  if (call.exact || call.element == Element::float32) return tile;
  return SGL_FROM_AMX(tile_by_amx, SGL_FROM_AVX512BF16(tile_of_pairs, tile));
}

// Computes units as long as there are any, those of part `own` first. `stores` says whether they store, too.
void work_off(const Call& call, const Projected* projected, bool stores, Queue& queue, int64_t own) {
  const Kernels& kernel = kernels();
  const Kernel tile = tile_kernel(call);
  const int64_t floats = scratch_floats(call);
  float *memory = scratch(floats + heads_of(call) * call.dim), *turned = memory + floats;
  const Unit* announced = nullptr;
  for (const Unit* taken = queue.take(own); taken != nullptr;) {
    Unit unit = *taken;
    const Unit* next = queue.take_early(own);
    if (is_single(call, unit.row)) {
      if (taken != announced) kernel.announce(call, unit);
      const int64_t head = call.row_start[unit.row] * heads_of(call) + unit.kv_head * call.groups;
      if (stores) store(call, *projected, unit, turned);
      unit.query = projected == nullptr ? call.query + head * call.dim : turned_queries(call, *projected, unit, turned);
      kernel.single(call, unit, next, memory);
      announced = next;
    } else {
      tile(call, unit, next, memory);
    }
    taken = next == nullptr ? queue.take(own) : next;
  }
}

}  // namespace

void run(Call call, int64_t rows, int64_t tokens, const Projected* projected) {
  static std::atomic<uint64_t> calls{0};
  call.number = calls.fetch_add(1, std::memory_order_relaxed) + 1;
  clear_padding(call, rows, tokens);
  static thread_local Work kept;  // its memory is; as a reference, so that all threads mean the caller's
  Work& work = kept;
  cut(call, static_cast<int32_t>(rows), work);
  int64_t products = 0;
  for (const Unit& unit : work.units) {
    products += int64_t{unit.tokens} * unit.kv_heads * unit.groups * (unit.end_key - unit.first_key) * call.dim * 2;
  }
  const int64_t parts = products < kWorthSharing ? 1 : num_threads();
  Queue queue(work.units, parts);
  // Rows may share pages that are filled in this very step, so all of them store before any attends. A single one does
  // so as it goes.
  const bool stores_first = projected != nullptr && std::count(call.row_len, call.row_len + rows, 1) > 1;
  if (stores_first) {
    parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
      float* memory = scratch(call.kv_heads * call.dim);
      const Unit* behind = queue.first(end);
      for (const Unit* unit = queue.first(begin); unit != behind; ++unit) store(call, *projected, *unit, memory);
    });
  }
  parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
    const bool stores = projected != nullptr && !stores_first;
    for (int64_t part = begin; part < end; ++part) work_off(call, projected, stores, queue, part);
  });
  const auto merges = static_cast<int64_t>(work.merges.size());
  parallel_for(merges, std::max<int64_t>(1, kMergeTogether / share_size(call)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) merge(call, work.merges[i]);
  });
}

const Kernels& kernels() {
  return SGL_FROM_AVX512(avx512_kernels, SGL_FROM_AVX2(avx2_kernels, portable_kernels));
}

int64_t scratch_floats(const Call& call) {
  return blocks_at(call) + (kept_blocks(call.dim) + 1) * block_floats(call.dim);
}

int64_t blocks_at(const Call& call) {
  const int64_t dim = (call.dim + 31) / 32 * 32;  // no kernel rounds up further
  const int64_t single = heads_of(call) * (2 * dim + kChunk + 2) + 32 * dim;
  const int64_t tile = kTileQueries * (2 * dim + kTileKeys) + 16 * dim;
  return std::max(single, tile);
}

}  // namespace sgl::attention
