#include "attention_single.h"
#include "attention_tile.h"
#include "kv_encode.h"

namespace sgl::attention {

const Kernels avx512_kernels = {announce, single, tile, encode};

}  // namespace sgl::attention
