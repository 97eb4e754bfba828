// Which instructions are used: the best that this machine has, which is asked at run time, and that the library was
// built for. variants.py has SGL_AVX2, SGL_AVX512, SGL_AVX512BF16 and SGL_AMX defined where it has their files.
//
// A file whose name ends in _avx2.cc, _avx512.cc, _avx512bf16.cc or _amx.cc is compiled with these instructions and may
// use them everywhere; it must be called only where `isa()` allows it, and must not define anything that other files
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
  amx,         // and AMX's tiles of BF16 and INT8
  neon,        // what all 64-bit ARM processors have; only there
};

// The best that there is, unless limit_isa asked for less.
Isa isa();
const char* isa_name(Isa isa);

// `own` where these instructions are used, else `less`.
#if defined(SGL_AVX2)
#define SGL_FROM_AVX2(own, less) (sgl::isa() >= sgl::Isa::avx2 ? (own) : (less))
#else
#define SGL_FROM_AVX2(own, less) (less)
#endif
#if defined(SGL_AVX512)
#define SGL_FROM_AVX512(own, less) (sgl::isa() >= sgl::Isa::avx512 ? (own) : (less))
#else
#define SGL_FROM_AVX512(own, less) (less)
#endif
#if defined(SGL_AVX512BF16)
#define SGL_FROM_AVX512BF16(own, less) (sgl::isa() >= sgl::Isa::avx512bf16 ? (own) : (less))
#else
#define SGL_FROM_AVX512BF16(own, less) (less)
#endif
#if defined(SGL_AMX)
#define SGL_FROM_AMX(own, less) (sgl::isa() >= sgl::Isa::amx ? (own) : (less))
#else
#define SGL_FROM_AMX(own, less) (less)
#endif

// Whether this machine reads a stream faster if it is asked for what comes next: Intel's do, AMD's do not (tiles.h).
extern const bool wants_fetching;

// For tests and comparisons: use at most this one. Returns what is used from now on.
Isa limit_isa(Isa most);

}  // namespace sgl
