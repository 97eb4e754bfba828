// Sixteen columns at a time, in four quarters, with the instructions that every 64-bit ARM processor has. See
// lanes_portable.h, which says what each operation does.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace {

struct Lanes {
  struct Floats {
    float32x4_t of[4];
  };
  struct Ints {
    int32x4_t of[4];
  };
  struct Quads {
    uint32x4_t of[4];
  };
  static constexpr bool kPairProducts = false;
  static constexpr int kMostRows = 4;

  static Floats zero() { return broadcast(0.0f); }
  static Floats broadcast(float value) {
    return each([=](int) { return vdupq_n_f32(value); });
  }
  static Floats load(const float* from) {
    return each([=](int quarter) { return vld1q_f32(from + 4 * quarter); });
  }
  static Floats load_halfs(const uint16_t* from) {
    return each([=](int quarter) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * quarter))); });
  }
  static void store(float* to, Floats value) {
    for (int quarter = 0; quarter < 4; ++quarter) vst1q_f32(to + 4 * quarter, value.of[quarter]);
  }
  static void store_first(float* to, Floats value, int count) {
    float all[16];
    store(all, value);
    for (int lane = 0; lane < count; ++lane) to[lane] = all[lane];
  }
  static Floats multiply(Floats a, Floats b) {
    return each([&](int quarter) { return vmulq_f32(a.of[quarter], b.of[quarter]); });
  }
  static Floats add(Floats a, Floats b) {
    return each([&](int quarter) { return vaddq_f32(a.of[quarter], b.of[quarter]); });
  }
  static Floats fma(Floats a, Floats b, Floats c) {
    return each([&](int quarter) { return vfmaq_f32(c.of[quarter], a.of[quarter], b.of[quarter]); });
  }
  static Floats largest_magnitude(Floats a, Floats b) {
    return each([&](int quarter) { return vmaxq_f32(vabsq_f32(a.of[quarter]), vabsq_f32(b.of[quarter])); });
  }
  static float largest_of(Floats a) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.of[0], a.of[1]), vmaxq_f32(a.of[2], a.of[3])));
  }
  static float sum_of(Floats a) {
    return vaddvq_f32(vaddq_f32(vaddq_f32(a.of[0], a.of[1]), vaddq_f32(a.of[2], a.of[3])));
  }
  static bool has_nan(Floats a) {
    uint32x4_t numbers = vdupq_n_u32(~0u);
    for (const float32x4_t quarter : a.of) numbers = vandq_u32(numbers, vceqq_f32(quarter, quarter));
    return vminvq_u32(numbers) == 0;
  }

  static Ints zero_ints() {
    return each_int([](int) { return vdupq_n_s32(0); });
  }
  static Floats to_floats(Ints a) {
    return each([&](int quarter) { return vcvtq_f32_s32(a.of[quarter]); });
  }
  static Quads load_quads(const uint8_t* from) {
    return each_quad([=](int quarter) { return vreinterpretq_u32_u8(vld1q_u8(from + 16 * quarter)); });
  }
  static Quads low_nibbles(Quads a) {
    return each_quad([&](int quarter) { return vandq_u32(a.of[quarter], vdupq_n_u32(0x0F0F0F0Fu)); });
  }
  static Quads high_nibbles(Quads a) {
    return each_quad([&](int quarter) {
      return vreinterpretq_u32_u8(vshrq_n_u8(vreinterpretq_u8_u32(a.of[quarter]), 4));
    });
  }
  template <bool small>
  static Ints dot(Ints sum, Quads codes, int32_t four) {
    const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
    return each_int([&](int quarter) { return dot_quarter<small>(sum.of[quarter], codes.of[quarter], x); });
  }
  static Ints add_ints(Ints a, Ints b) {
    return each_int([&](int quarter) { return vaddq_s32(a.of[quarter], b.of[quarter]); });
  }
  template <int which>
  static Floats code_floats(Quads codes) {
    return each([&](int quarter) {
      const uint32x4_t shifted = vshlq_u32(codes.of[quarter], vdupq_n_s32(-8 * which));
      return vcvtq_f32_u32(vandq_u32(shifted, vdupq_n_u32(0xFF)));
    });
  }
  static int32_t store_rounded(int8_t* to, Floats first, Floats second) {
    int32x4_t sums = vdupq_n_s32(0);
    const Floats* halves[2] = {&first, &second};
    for (const Floats* value : halves) {
      int32x4_t rounded[4];
      for (int quarter = 0; quarter < 4; ++quarter) {
        rounded[quarter] = vcvtnq_s32_f32(value->of[quarter]);
        sums = vaddq_s32(sums, rounded[quarter]);
      }
      const int16x8_t low = vcombine_s16(vmovn_s32(rounded[0]), vmovn_s32(rounded[1]));
      const int16x8_t high = vcombine_s16(vmovn_s32(rounded[2]), vmovn_s32(rounded[3]));
      vst1q_s8(to, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
      to += 16;
    }
    return vaddvq_s32(sums);
  }

  static Quads load_pairs(const uint16_t* from) { return load_quads(reinterpret_cast<const uint8_t*>(from)); }
  static Floats first_of_pairs(Quads pairs) {
    return each([&](int quarter) { return vreinterpretq_f32_u32(vshlq_n_u32(pairs.of[quarter], 16)); });
  }
  static Floats second_of_pairs(Quads pairs) {
    return each([&](int quarter) {
      return vreinterpretq_f32_u32(vandq_u32(pairs.of[quarter], vdupq_n_u32(0xFFFF0000u)));
    });
  }

 private:
  template <class Value>
  static Floats each(Value value) {
    return {{value(0), value(1), value(2), value(3)}};
  }
  template <class Value>
  static Ints each_int(Value value) {
    return {{value(0), value(1), value(2), value(3)}};
  }
  template <class Value>
  static Quads each_quad(Value value) {
    return {{value(0), value(1), value(2), value(3)}};
  }
  // Four columns of four bytes each.
  template <bool small>
  static int32x4_t dot_quarter(int32x4_t sum, uint32x4_t codes, int8x16_t x) {
    const uint8x16_t bytes = vreinterpretq_u8_u32(codes);
    if (small) {
      const int8x16_t same = vreinterpretq_s8_u8(bytes);
      const int16x8_t low = vmull_s8(vget_low_s8(same), vget_low_s8(x));
      const int16x8_t high = vmull_s8(vget_high_s8(same), vget_high_s8(x));
      return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
    }
    // Products of full bytes fit 16 bits signed only one at a time: -128 * 255 does, its double does not.
    const int16x8_t wide_low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
    const int16x8_t wide_high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes)));
    const int16x8_t low = vmulq_s16(wide_low, vmovl_s8(vget_low_s8(x)));
    const int16x8_t high = vmulq_s16(wide_high, vmovl_s8(vget_high_s8(x)));
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
  }
};

}  // namespace
