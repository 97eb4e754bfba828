// AMX's tiles. Everything is private to the including file (see isa.h).
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <initializer_list>

namespace {

constexpr int64_t kTileRows = 16;

struct TileShape {
  uint8_t rows = kTileRows;
  uint16_t row_bytes = 64;
};

// Gives a thread's tiles their shapes while it lives: between two calls others may use them. From the first tile on;
// all eight are as large as tiles can be unless it is said.
class TileShapes {
 public:
  TileShapes() : TileShapes({{}, {}, {}, {}, {}, {}, {}, {}}) {}
  explicit TileShapes(std::initializer_list<TileShape> wanted) {
    struct alignas(64) {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    int tile = 0;
    for (const TileShape& shape : wanted) {
      shapes.row_bytes[tile] = shape.row_bytes;
      shapes.rows[tile++] = shape.rows;
    }
    asm volatile("" ::"r"(&shapes) : "memory");  // GCC thinks that only the first eight bytes are read
    _tile_loadconfig(&shapes);
  }
  ~TileShapes() { _tile_release(); }
  TileShapes(const TileShapes&) = delete;
  TileShapes& operator=(const TileShapes&) = delete;
};

// Fetches what will be read after this, into the second cache, a few lines at each call: many at once hold up what is
// loaded meanwhile.
class Ahead {
 public:
  // `bytes` of each of some streams, which lie `apart` bytes from each other, in so many calls.
  Ahead(const char* from, int64_t bytes, int64_t streams, int64_t apart, int64_t calls)
      : next_(from), bytes_(bytes), left_(bytes), streams_(streams), apart_(apart) {
    lines_ = (streams * bytes / kLine + calls - 1) / calls;
  }

  // GCC drops calls of functions that do nothing but prefetch, unless they are inlined before it looks.
  __attribute__((always_inline)) inline void fetch() {
    for (int64_t line = 0; line < lines_ && streams_ > 0; ++line) {
      __builtin_prefetch(next_, 0, 2);
      next_ += kLine;
      left_ -= kLine;
      if (left_ > 0) continue;
      next_ += apart_ - bytes_ + left_;
      left_ = bytes_;
      --streams_;
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  const char* next_;
  int64_t bytes_, left_, streams_, apart_, lines_;
};

}  // namespace
