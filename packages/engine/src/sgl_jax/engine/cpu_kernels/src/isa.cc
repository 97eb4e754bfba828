#include "isa.h"

#include <algorithm>
#include <atomic>

#if defined(SGL_X86)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace sgl {
namespace {

#if defined(SGL_X86)
bool has_bit(unsigned word, int bit) { return (word >> bit & 1) != 0; }

// Which registers the system saves for us: without that, instructions that the processor has must not be used.
unsigned saved_registers() {
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Linux has a process ask for AMX's registers: they are large, and saved for those only that use them. It says no where
// a stack for signals is too small for them.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, in asm/prctl.h since Linux 5.16
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// The compiler's own __builtin_cpu_supports needs a run-time library that not all of them bring.
Isa detect() {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return Isa::portable;
  const bool fma = has_bit(ecx, 12), saves = has_bit(ecx, 27), f16c = has_bit(ecx, 29);
  if (!saves || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return Isa::portable;
  const unsigned saved = saved_registers();
  if (!(fma && f16c && has_bit(ebx, 5) && (saved & 0x06) == 0x06)) return Isa::portable;
  const bool f = has_bit(ebx, 16), dq = has_bit(ebx, 17), bw = has_bit(ebx, 30), vl = has_bit(ebx, 31);
  const bool vnni = has_bit(ecx, 11);
  const bool tiles = has_bit(edx, 22) && has_bit(edx, 24) && has_bit(edx, 25);
  const bool amx = tiles && (saved & 0x60000) == 0x60000;
  if (!(f && dq && bw && vl && vnni && (saved & 0xE6) == 0xE6)) return Isa::avx2;
  const bool more = __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0;
  if (!more || !has_bit(eax, 5)) return Isa::avx512;
#if defined(SGL_AMX)
  if (amx && may_use_tiles()) return Isa::amx;
#endif
  return Isa::avx512bf16;
}
#elif defined(__aarch64__)
Isa detect() { return Isa::neon; }
#else
Isa detect() { return Isa::portable; }
#endif

bool is_intel() {
#if defined(SGL_X86)
  unsigned eax, ebx, ecx, edx;  // the name is in the last three: "Genu" "ntel" "ineI"
  return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == 0x756e6547 && ecx == 0x6c65746e && edx == 0x49656e69;
#else
  return false;
#endif
}

// The best of those up to `most` that the library has files for.
Isa built(Isa most) {
#if defined(SGL_X86)
#if !defined(SGL_AMX)
  if (most == Isa::amx) most = Isa::avx512bf16;
#endif
#if !defined(SGL_AVX512BF16)
  if (most == Isa::avx512bf16) most = Isa::avx512;
#endif
#if !defined(SGL_AVX512)
  if (most == Isa::avx512) most = Isa::avx2;
#endif
#if !defined(SGL_AVX2)
  if (most == Isa::avx2) most = Isa::portable;
#endif
#endif
  return most;
}

std::atomic<Isa> most_allowed{Isa::neon};

}  // namespace

extern const bool wants_fetching = is_intel();

Isa isa() {
  static const Isa detected = detect();
  return built(std::min(detected, most_allowed.load(std::memory_order_relaxed)));
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::neon:
      return "NEON";
    case Isa::amx:
      return "AMX, and AVX512 with VNNI and BF16";
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
  most_allowed.store(most, std::memory_order_relaxed);
  return isa();
}

}  // namespace sgl

extern "C" const char* sgl_isa_name() { return sgl::isa_name(sgl::isa()); }

// By number, see Isa; 0 is portable.
extern "C" int sgl_limit_isa(int most) {
  return static_cast<int>(sgl::limit_isa(static_cast<sgl::Isa>(most)));
}
