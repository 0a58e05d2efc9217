// What emulated primitives call: one function per kind of operation, on behalf of the thread that runs.
// Reader: whoever adds a primitive. Each throws Error where the machine would be wrong, or undefined.
#pragma once

#include <cstdint>

#include "access.h"

namespace tilewise::emulator {

// What a running thread may see of itself, and of its block. Read again after every operation: the emulator switches
// threads inside them, never worker threads. __thread: plain data, so that access needs no initialisation check.
struct ThreadView {
  uint32_t index, lane, warp;
};
struct BlockView {
  uint32_t index, count, threads;
};
extern __thread ThreadView* currentThread __attribute__((tls_model("initial-exec")));
extern __thread BlockView* currentBlock __attribute__((tls_model("initial-exec")));

// shared_memory.cc: the bytes behind a shared address, after every check.
void* shared(uint32_t address, uint32_t bytes, Access access);

// global_access.cc: fails unless the bytes are aligned, and inside an allocation where those are known.
void checkGlobal(const void* address, uint32_t bytes, Access access);

// async_copy.cc
void asyncCopy(uint32_t to, const void* from, int bytes);
void asyncCopyCommit();
void asyncCopyWait(int pending);

// warp.cc
void loadMatrix(uint32_t* registers, uint32_t row, bool transposed);
void storeMatrix(uint32_t row, const uint32_t* registers);
enum class Shuffle { exclusiveOr, index, up };
uint32_t shuffle(Shuffle kind, uint32_t value, int operand);
uint32_t ballot(bool yes);
void syncWarp();

// matrix_multiply.cc: d0 += a * b, and where there is a d1, the same with the other eight columns of b.
enum class Element { bf16, f16 };
struct Product {
  float* d0;
  float* d1;  // null: b has 8 columns
  const uint32_t* a;
  uint32_t b[4];
};
void multiply(const Product& product, Element element);
void multiplyTf32(float* d, const uint32_t* a, uint32_t b0, uint32_t b1);

// barrier.cc: `threads` 0 is the whole block.
void barrierSync(int id, int threads);
void barrierArrive(int id, int threads);
bool barrierOr(bool yes);

// mbarrier.cc
void mbarrierInit(uint32_t barrier, int count);
void mbarrierArrive(uint32_t barrier, uint32_t expectedBytes);
void mbarrierWait(uint32_t barrier, uint32_t parity);
void fenceMbarrierInit();
void fenceProxyAsync();

// tma.cc
void tmaLoad(uint32_t to, const void* map, uint32_t barrier, int rank, const int* coordinates);
void tmaStore(const void* map, uint32_t from, int rank, const int* coordinates);
void tmaStoreCommit();
void tmaStoreWait(int pending);

// wgmma.cc. Of a product, what all threads of a warpgroup say alike.
struct WarpgroupProduct {
  uint32_t n;
  Element element;
  bool transposeA, transposeB;  // mn-major
  bool isAInRegisters, keep;
  uint64_t a, b;  // descriptors

  bool operator==(const WarpgroupProduct& other) const {
    return n == other.n && element == other.element && transposeA == other.transposeA &&
           transposeB == other.transposeB && isAInRegisters == other.isAInRegisters && keep == other.keep &&
           a == other.a && b == other.b;
  }
};
// `a`: registers, or null. `d`: the accumulator.
void warpgroupMultiply(const WarpgroupProduct& product, const uint32_t* a, float* d);
void warpgroupFence();
void warpgroupCommit();
void warpgroupWait(int pending, float* const* accumulators, int count);
void setMaxRegisters(uint32_t registers, bool isMore);

}  // namespace tilewise::emulator
