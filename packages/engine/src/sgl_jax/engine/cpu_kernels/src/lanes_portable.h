// Sixteen columns of a product at a time, in plain C++. The kernels in tiles.h are written in these operations only;
// lanes_avx2.h and lanes_avx512.h have the same ones in instructions.
//
// Everything is in an unnamed namespace: each file that includes this gets a copy of its own, compiled for its own
// instructions (see isa.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

struct Lanes {
  // One number a column.
  struct Floats {
    float of[16];
  };
  struct Ints {
    int32_t of[16];
  };
  // Four bytes a column, or two bfloat16, in memory order.
  struct Quads {
    uint32_t of[16];
  };
  // Whether dot_pairs and store_bf16 are there; activations are then rounded to bfloat16 to meet bfloat16 weights.
  static constexpr bool kPairProducts = false;
  // How many rows of activations a kernel takes at once; more would not fit the registers.
  static constexpr int kMostRows = 4;

  static Floats zero() { return broadcast(0.0f); }
  static Floats broadcast(float value) {
    return each([=](int) { return value; });
  }
  static Floats load(const float* from) {
    return each([=](int lane) { return from[lane]; });
  }
  // Sixteen float16.
  static Floats load_halfs(const uint16_t* from) {
    return each([=](int lane) { return half_to_float(from[lane]); });
  }
  static void store(float* to, Floats value) { store_first(to, value, 16); }
  static void store_first(float* to, Floats value, int count) {
    for (int lane = 0; lane < count; ++lane) to[lane] = value.of[lane];
  }
  static Floats multiply(Floats a, Floats b) {
    return each([&](int lane) { return a.of[lane] * b.of[lane]; });
  }
  static Floats add(Floats a, Floats b) {
    return each([&](int lane) { return a.of[lane] + b.of[lane]; });
  }
  // a * b + c
  static Floats fma(Floats a, Floats b, Floats c) {
    return each([&](int lane) { return a.of[lane] * b.of[lane] + c.of[lane]; });
  }
  // max(|a|, |b|); anything where one of them is NaN.
  static Floats largest_magnitude(Floats a, Floats b) {
    return each([&](int lane) {
      const float x = std::fabs(a.of[lane]), y = std::fabs(b.of[lane]);
      return x > y ? x : y;
    });
  }
  static float largest_of(Floats a) {
    float largest = a.of[0];
    for (float value : a.of) largest = value > largest ? value : largest;
    return largest;
  }
  static float sum_of(Floats a) {
    float sum = 0.0f;
    for (float value : a.of) sum += value;
    return sum;
  }
  static bool has_nan(Floats a) {
    for (float value : a.of) {
      if (value != value) return true;
    }
    return false;
  }

  static Ints zero_ints() { return {}; }
  static Floats to_floats(Ints a) {
    return each([&](int lane) { return static_cast<float>(a.of[lane]); });
  }
  static Quads load_quads(const uint8_t* from) {
    Quads quads;
    std::memcpy(&quads, from, sizeof quads);
    return quads;
  }
  static Quads low_nibbles(Quads a) {
    for (uint32_t& quad : a.of) quad &= 0x0F0F0F0Fu;
    return a;
  }
  static Quads high_nibbles(Quads a) {
    for (uint32_t& quad : a.of) quad = quad >> 4 & 0x0F0F0F0Fu;
    return a;
  }
  // sum + the four unsigned codes of each column times the four signed bytes of `four`. `small` promises codes below
  // 128, which some instructions need to be fast.
  template <bool small>
  static Ints dot(Ints sum, Quads codes, int32_t four) {
    for (int byte = 0; byte < 4; ++byte) {
      const int32_t x = static_cast<int8_t>(static_cast<uint32_t>(four) >> 8 * byte);
      for (int lane = 0; lane < 16; ++lane) sum.of[lane] += static_cast<int32_t>(codes.of[lane] >> 8 * byte & 0xFF) * x;
    }
    return sum;
  }
  static Ints add_ints(Ints a, Ints b) {
    for (int lane = 0; lane < 16; ++lane) a.of[lane] += b.of[lane];
    return a;
  }
  // The byte number `which` of each column.
  template <int which>
  static Floats code_floats(Quads codes) {
    return each([&](int lane) { return static_cast<float>(codes.of[lane] >> 8 * which & 0xFF); });
  }
  // Stores 32 numbers, rounded to integers, and returns their sum. They lie within int8; NaN gives anything.
  static int32_t store_rounded(int8_t* to, Floats first, Floats second) {
    int32_t sum = 0;
    for (int lane = 0; lane < 32; ++lane) {
      const float number = lane < 16 ? first.of[lane] : second.of[lane - 16];
      to[lane] = number == number ? static_cast<int8_t>(std::nearbyint(number)) : int8_t{0};
      sum += to[lane];
    }
    return sum;
  }

  // Two bfloat16 a column.
  static Quads load_pairs(const uint16_t* from) { return load_quads(reinterpret_cast<const uint8_t*>(from)); }
  static Floats first_of_pairs(Quads pairs) {
    return each([&](int lane) { return bits_to_float(pairs.of[lane] << 16); });
  }
  static Floats second_of_pairs(Quads pairs) {
    return each([&](int lane) { return bits_to_float(pairs.of[lane] & 0xFFFF0000u); });
  }

 private:
  template <class Value>
  static Floats each(Value value) {
    Floats all;
    for (int lane = 0; lane < 16; ++lane) all.of[lane] = value(lane);
    return all;
  }
  static float bits_to_float(uint32_t bits) {
    float number;
    std::memcpy(&number, &bits, sizeof number);
    return number;
  }
  static float half_to_float(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, rest = half & 0x7FFF;
    if (rest >= 0x7C00) return bits_to_float(sign | 0x7F800000u | (rest & 0x3FF) << 13);  // infinite, or NaN
    if (rest < 0x400) return (sign ? -1.0f : 1.0f) * static_cast<float>(rest) * 0x1p-24f;   // subnormal
    return bits_to_float(sign | ((rest << 13) + (112u << 23)));
  }
};

}  // namespace
