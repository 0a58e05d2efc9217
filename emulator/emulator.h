// The emulated GPU: runs a kernel, every thread of a block as a fiber, on the processor's cores.
// Blocks are independent and run on worker threads; what is wrong in one stops the launch and is thrown as an Error
// that names the thread and the line of the kernel. See README.md for what it finds and what it cannot. Reader: whoever
// launches kernels in a test.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "../cuda/prims/types.h"

namespace tilewise::emulator {

class Memory;

// When an asynchronous operation takes effect. A correct kernel cannot tell.
enum class Async {
  lazy,  // as late as it may
  eager,  // when issued
  random,  // drawn from the seed
};

struct Options {
  Async async = Async::lazy;
  uint64_t seed = 0;  // 0: lanes and blocks in order; otherwise every choice of the scheduler is drawn from it
  bool races = false;  // checks that accesses to shared memory are ordered
  int workers = 0;  // 0: one per core
  bool roundsProducts = false;  // of PTX: fma.rn.f32 rounds twice, as its source does where nothing fuses, see twins.h
  const Memory* memory = nullptr;  // when given, primitives may touch global memory only inside its allocations
};

// "lazy", "eager", "random:<seed>", "races" and "workers:<count>", separated by commas; "" is lazy.
Options parseOptions(const std::string& text);

struct Grid {
  uint32_t blocks = 1;
  uint32_t threads = 32;  // whole warps, at most 1024
  uint32_t sharedBytes = 0;
};

struct Stats {
  uint64_t switches = 0;
  uint64_t products = 0;  // mma.sync, 8 columns each
  uint64_t matrixLoads = 0;  // ldmatrix.x4
  uint64_t matrixLoadConflicts = 0;  // rows of those that hit a bank another row of the same matrix uses
  uint64_t warpgroupProducts = 0;
  uint64_t tmaBytes = 0;
};

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Runs `thread` as each thread of each block, and returns when all are done.
Stats launch(const Grid& grid, const Options& options, const std::function<void()>& thread);

// A tensor of 16-bit elements for TMA, under the rules of cuTensorMapEncodeTiled. Innermost dimension first; `strides`
// are those of the others, in bytes.
struct TensorShape {
  void* base;
  int rank;
  uint64_t dims[5];
  uint64_t strides[4];
  uint32_t box[5];
  int swizzleBytes;  // 0, 32, 64 or 128
};
cuda::TensorMap makeTensorMap(const TensorShape& shape);

}  // namespace tilewise::emulator
