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

}  // namespace
