#include "lanes_avx512.h"

#include "rowwise.h"
#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulAvx512Bf16 = {false, plan, prepare, multiply, normalize, rotate, add, gate};

}  // namespace sgl
