#include "lanes_avx512.h"

#include "rowwise.h"
#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulAvx512Bf16 = {plan, prepare, multiply, normalize, rotate, gate};

}  // namespace sgl
