#include "attention_tile.h"

namespace sgl::attention {

void tile_by_amx(const Call& call, const Unit& unit, const Unit* next, float* scratch) {
  tile(call, unit, next, scratch);
}

}  // namespace sgl::attention
