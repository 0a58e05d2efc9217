// The emulated Machine: kernels by name, device memory, queues.
#include <cstring>
#include <vector>

#include "../../../core/op/backend.h"
#include "../../../cuda/prims/kernel.h"
#include "../../../emulator/emulated_machine.h"
#include "checks.h"
#include "expect.h"

namespace tilewise::cuda {
namespace {

constexpr const char* kModule = "machine_checks";  // this file

struct AddParams {
  const float* in;
  float* out;
  int count;
  float addend;
};

template <int Step>
__device__ void add(const AddParams& p) {
  const int first = int(block_index() * threads_per_block() + thread_index());
  for (int i = first; i < p.count; i += Step) st_global(p.out + i, p.in[i] + p.addend);
}

TW_KERNEL(add_in_64s, AddParams, 64, 2) { add<64 * 4>(p); }
TW_KERNEL(add_in_128s, AddParams, (64 * 2), 1) { add<128 * 4>(p); }

template <class Action>
std::string errorOf(Action action) {
  try {
    action();
  } catch (const BackendError& error) {
    return error.what();
  }
  return "";
}

void checkLaunches(Machine& machine) {
  const int count = 1000;
  std::vector<float> values(count), result(count, 0.f);
  for (int i = 0; i < count; ++i) values[i] = float(i);
  const auto queue = machine.queue();
  auto* in = static_cast<float*>(queue->allocate(count * 4));
  auto* out = static_cast<float*>(machine.allocate(count * 4));
  queue->upload(in, values.data(), count * 4);
  const std::vector<float> uploaded = values;
  values.assign(count, -1.f);  // may change once uploaded

  AddParams params{in, out, count, 0.5f};
  Launch launch{kModule, "add_in_64s", 4, 64, 0, &params, sizeof params};
  queue->launch(launch);
  queue->download(result.data(), out, count * 4);
  params.in = out;
  params.addend = 1.f;
  launch.kernel = "add_in_128s";
  launch.threads = 128;
  queue->launch(launch);  // after the download: it must not see this
  uint32_t bits;
  std::memcpy(&bits, result.data(), 4);
  CHECK(bits == 0xffffffff, "a download arrives before wait()");
  queue->wait();
  for (int i = 0; i < count; ++i) CHECK(result[i] == uploaded[i] + 0.5f, "%d: %g", i, result[i]);
  queue->download(result.data(), out, count * 4);
  queue->wait();
  for (int i = 0; i < count; ++i) CHECK(result[i] == uploaded[i] + 1.5f, "%d: %g", i, result[i]);

  const auto expectRefused = [&](const char* part, const Launch& wrong) {
    const std::string error = errorOf([&] { queue->launch(wrong); });
    CHECK(emulator::contains(error, part), "no '%s' in: %s", part, error.c_str());
  };
  Launch wrong = launch;
  wrong.kernel = "subtract";
  expectRefused("no kernel machine_checks/subtract", wrong);
  wrong = launch;
  wrong.module = "elsewhere";
  expectRefused("no kernel elsewhere/add_in_128s", wrong);
  wrong = launch;
  wrong.threads = 64;
  expectRefused("declared with 128", wrong);
  wrong = launch;
  wrong.paramBytes = 8;
  expectRefused("8 bytes of parameters", wrong);
  wrong = launch;
  wrong.sharedBytes = uint32_t(machine.limits().sharedBytesPerBlock) + 1;
  expectRefused("bytes of shared memory", wrong);
  params.out = result.data();  // of the host
  expectRefused("machine_checks/add_in_128s: block", launch);
  machine.free(out);
}

bool canWrite(Machine& machine, void* to, size_t bytes) {
  const std::vector<char> zeros(bytes);
  return errorOf([&] { machine.queue()->upload(to, zeros.data(), int64_t(bytes)); }).empty();
}

void checkMemory(Machine& machine) {
  void* kept = machine.allocate(1000);
  void* empty = machine.allocate(0);
  void* queued = nullptr;
  float host = 0;
  {
    const auto queue = machine.queue();
    queued = queue->allocate(64);
    CHECK(canWrite(machine, queued, 64), "what a queue allocated");
    CHECK(!errorOf([&] { queue->upload(static_cast<char*>(queued) + 62, &host, 4); }).empty(),
          "an upload past the end");
    CHECK(!errorOf([&] { queue->download(&host, &host, 4); }).empty(), "a download from the host");
  }
  CHECK(!canWrite(machine, queued, 1), "what the queue allocated outlives it");
  CHECK(!canWrite(machine, kept, 1001) && !canWrite(machine, &host, 1), "memory of others");
  CHECK(empty != nullptr && reinterpret_cast<uintptr_t>(kept) % 256 == 0, "alignment");
  CHECK(*static_cast<uint8_t*>(kept) == 0xff, "fresh memory is not poisoned");
  CHECK(canWrite(machine, kept, 1000), "what the machine allocated");
  machine.free(kept);
  machine.free(empty);
  machine.free(nullptr);
  CHECK(!canWrite(machine, kept, 1), "freed memory");
}

}  // namespace

void checkMachine() {
  const auto machine = emulator::makeMachine();
  CHECK(machine->limits().computeCapability == 80 && machine->limits().sharedBytesPerBlock == 99 * 1024, "limits");
  checkLaunches(*machine);
  checkMemory(*machine);
}

}  // namespace tilewise::cuda
