// AMX's tiles, all of one shape: 16 rows of 64 bytes. Everything is private to the including file (see isa.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

constexpr int64_t kTileRows = 16;

// Gives a thread's tiles their shape while it lives: between two calls others may use them.
class TileShapes {
 public:
  TileShapes() {
    struct alignas(64) {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    for (int tile = 0; tile < 8; ++tile) shapes.row_bytes[tile] = 64, shapes.rows[tile] = kTileRows;
    asm volatile("" ::"r"(&shapes) : "memory");  // GCC thinks that only the first eight bytes are read
    _tile_loadconfig(&shapes);
  }
  ~TileShapes() { _tile_release(); }
  TileShapes(const TileShapes&) = delete;
  TileShapes& operator=(const TileShapes&) = delete;
};

}  // namespace
