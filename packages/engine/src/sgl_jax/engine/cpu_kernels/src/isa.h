// Which instructions this machine has. Asked at run time: one library serves every machine of its architecture.
//
// A file whose name ends in _avx2.cc, _avx512.cc or _avx512bf16.cc is compiled with these instructions and may use
// them everywhere; it must be called only where `isa()` allows it, and must not define anything that other files
// could share (inline functions and templates of named types): the linker would keep one copy for all of them.
#pragma once

#if defined(__x86_64__)
#define SGL_X86 1
#endif

namespace sgl {

// Each of x86 includes those before it.
enum class Isa {
  portable,
  avx2,        // and FMA, F16C
  avx512,      // F, BW, DQ, VL and VNNI
  avx512bf16,  // and BF16
  neon,        // what all 64-bit ARM processors have; only there
};

// The best that this machine has, unless set_isa asked for less.
Isa isa();
const char* isa_name(Isa isa);

// Of three variants of one thing, the best that this machine has. Those for x86 need not exist elsewhere.
#if defined(SGL_X86)
#define SGL_BEST(plain, for_avx2, for_avx512) \
  (isa() >= Isa::avx512 ? (for_avx512) : isa() >= Isa::avx2 ? (for_avx2) : (plain))
#else
#define SGL_BEST(plain, for_avx2, for_avx512) (plain)
#endif

// For tests and comparisons: use at most this one. Returns what is used from now on.
Isa limit_isa(Isa most);

}  // namespace sgl
