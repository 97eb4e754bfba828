#include "isa.h"

#include <algorithm>
#include <atomic>

namespace sgl {
namespace {

Isa detect() {
#if defined(SGL_X86)
  __builtin_cpu_init();
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return Isa::portable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  if (!avx512) return Isa::avx2;
  return __builtin_cpu_supports("avx512bf16") ? Isa::avx512bf16 : Isa::avx512;
#else
  return Isa::portable;
#endif
}

std::atomic<int> most_allowed{static_cast<int>(Isa::avx512bf16)};

}  // namespace

Isa isa() {
  static const Isa detected = detect();
  return static_cast<Isa>(std::min(static_cast<int>(detected), most_allowed.load(std::memory_order_relaxed)));
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512bf16:
      return "AVX512 with VNNI and BF16";
    case Isa::avx512:
      return "AVX512 with VNNI";
    case Isa::avx2:
      return "AVX2";
    default:
      return "portable";
  }
}

Isa limit_isa(Isa most) {
  most_allowed.store(static_cast<int>(most), std::memory_order_relaxed);
  return isa();
}

}  // namespace sgl

extern "C" const char* sgl_isa_name() { return sgl::isa_name(sgl::isa()); }

// 0 is portable, 3 the best; see Isa.
extern "C" int sgl_limit_isa(int most) {
  return static_cast<int>(sgl::limit_isa(static_cast<sgl::Isa>(most)));
}
