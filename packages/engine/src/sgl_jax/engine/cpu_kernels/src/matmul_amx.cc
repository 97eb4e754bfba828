#include "lanes_avx512.h"

#include "rowwise.h"
#include "tiles_amx.h"

namespace sgl {

extern const MatmulKernels kMatmulAmx = {true, plan_tiled, prepare_tiled, multiply_tiled, normalize, rotate, add, gate};

}  // namespace sgl
