#include "lanes_avx2.h"

#include "rowwise.h"
#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulAvx2 = {false, plan, prepare, multiply, normalize, rotate, add, gate};

}  // namespace sgl
