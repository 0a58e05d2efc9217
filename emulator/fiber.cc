// Stack switching for x86-64 and 64-bit Arm, System V calling conventions.
#include "fiber.h"

#include <sys/mman.h>

#include <mutex>
#include <new>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#endif

#if defined(__x86_64__)
asm(R"(
.text
.globl tilewiseSwitchStacks
.hidden tilewiseSwitchStacks
.type tilewiseSwitchStacks,@function
tilewiseSwitchStacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tilewiseSwitchStacks,.-tilewiseSwitchStacks
)");
constexpr int kReturnWord = 6;  // above the saved registers
constexpr int kFrameWords = 8;  // and one more, so that the entry finds its stack aligned as after a call
#elif defined(__aarch64__)
asm(R"(
.text
.globl tilewiseSwitchStacks
.hidden tilewiseSwitchStacks
.type tilewiseSwitchStacks,%function
tilewiseSwitchStacks:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size tilewiseSwitchStacks,.-tilewiseSwitchStacks
)");
constexpr int kReturnWord = 11;  // x30
constexpr int kFrameWords = 20;
#else
#error "the emulator switches stacks on x86-64 and 64-bit Arm"
#endif

namespace tilewise::emulator {
namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kGuardBytes = 4096;

// Stacks are kept for the next launch: mapping and touching them anew costs more than a small kernel.
struct Pool {
  std::mutex mutex;
  std::vector<std::pair<size_t, uint8_t*>> free;
};
Pool& pool() {
  static auto* shared = new Pool;
  return *shared;
}

uint8_t* mapStacks(size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  auto* stacks = static_cast<uint8_t*>(base);
  for (size_t offset = 0; offset < bytes; offset += kStackBytes) mprotect(stacks + offset, kGuardBytes, PROT_NONE);
  return stacks;
}

uint8_t* takeStacks(size_t bytes) {
  {
    const std::lock_guard<std::mutex> lock(pool().mutex);
    auto& free = pool().free;
    for (size_t i = 0; i < free.size(); ++i) {
      if (free[i].first != bytes) continue;
      uint8_t* stacks = free[i].second;
      free.erase(free.begin() + int64_t(i));
      return stacks;
    }
  }
  return mapStacks(bytes);
}

}  // namespace

Stacks::Stacks(uint32_t count) : bytes_(count * kStackBytes), base_(takeStacks(bytes_)) {}

Stacks::~Stacks() {
  const std::lock_guard<std::mutex> lock(pool().mutex);
  pool().free.push_back({bytes_, base_});
}

Fiber callersFiber() {
  Fiber fiber;
#if defined(__SANITIZE_ADDRESS__)
  pthread_attr_t attributes;
  void* stack = nullptr;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &stack, &fiber.stackBytes);
  pthread_attr_destroy(&attributes);
  fiber.stack = stack;
#endif
  return fiber;
}

Fiber Stacks::prepare(uint32_t index, void (*entry)()) const {
  uint8_t* top = base_ + (index + 1) * kStackBytes;
  Fiber fiber;
#if defined(__SANITIZE_ADDRESS__)
  uint8_t* stack = top - kStackBytes + kGuardBytes;
  fiber.stack = stack;
  fiber.stackBytes = size_t(top - stack);
  // Fibers never return, so the marks around the last one's frames are still there.
  __asan_unpoison_memory_region(stack, fiber.stackBytes);
#endif
  // Stacks start at different offsets in their pages, or the hot lines of all share the same sets of the cache.
  top -= index % 32 * 512 % 4096 + index / 32 % 8 * 64;
  auto** frame = reinterpret_cast<void**>(top) - kFrameWords;
  for (int i = 0; i < kFrameWords; ++i) frame[i] = nullptr;
  frame[kReturnWord] = reinterpret_cast<void*>(entry);
  fiber.stackPointer = frame;
  return fiber;
}

}  // namespace tilewise::emulator
