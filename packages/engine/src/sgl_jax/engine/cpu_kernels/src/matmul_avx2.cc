#include "lanes_avx2.h"

#include "rowwise.h"
#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulAvx2 = {plan, prepare, multiply, normalize, rotate, gate};

}  // namespace sgl
