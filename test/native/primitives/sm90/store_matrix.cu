// stmatrix and elect.sync.
#include "../values.h"

namespace tilewise::cuda::conformance {
namespace {

struct StoreParams {
  uint4* rows;       // 32
  uint32_t* elected;  // per lane
};
TW_HOST_DEVICE int rowOf(int lane) { return lane * 7 % 32; }

__global__ void storeMatrices(const __grid_constant__ StoreParams p) {
  const saddr tile = smem_base();
  const int lane = lane_id();
  const auto first = uint32_t(lane * 100);
  const uint32_t r[4] = {first, first + 1, first + 2, first + 3};
  stmatrix_x4(tile + rowOf(lane) * 16, r);
  sync_warp();
  p.rows[lane] = ld_shared_128(tile + lane * 16);
  p.elected[lane] = elect_one();
}

CONFORMANCE(matrixStores) {
  StoreParams p{allocate<uint4>(32), allocate<uint32_t>(32)};
  launch(storeMatrices, {1, 32, 512}, p);
  const auto rows = download(p.rows, 32);
  const auto elected = download(p.elected, 32);
  bool isOk = true;
  for (int m = 0; m < 4; ++m) {
    for (int lane = 0; lane < 32; ++lane) {
      // Register m of a lane is a pair of columns of row lane / 4 of matrix m, which lane 8m + lane / 4 named.
      const uint4& row = rows[rowOf(m * 8 + lane / 4)];
      const uint32_t words[4] = {row.x, row.y, row.z, row.w};
      isOk = isOk && words[lane % 4] == uint32_t(lane * 100 + m);
    }
  }
  report("stmatrix.x4", isOk);
  uint32_t count = 0;
  for (const uint32_t yes : elected) count += yes;
  report("elect.sync elects one lane", count == 1);
}

}  // namespace
}  // namespace tilewise::cuda::conformance
