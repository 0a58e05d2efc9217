// The emulator as the machine under test. Usage: conformance [options of the emulator, such as races,random:7].
#include <cstdlib>
#include <cstring>

#include "host.h"
#include "main.h"

namespace tilewise::cuda::conformance {

emulator::Options& emulatorOptions() {
  static emulator::Options options;
  return options;
}

void prepareMachine(const std::string& options) { emulatorOptions() = emulator::parseOptions(options); }

void* allocateBytes(size_t bytes) {
  constexpr size_t kAlignment = 128;
  return std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
}
void uploadBytes(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void downloadBytes(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

TensorMap tensorMap(const TensorShape& shape) {
  emulator::TensorShape same{shape.base, shape.rank, {}, {}, {}, shape.swizzleBytes};
  std::memcpy(same.dims, shape.dims, sizeof same.dims);
  std::memcpy(same.strides, shape.strides, sizeof same.strides);
  std::memcpy(same.box, shape.box, sizeof same.box);
  return emulator::makeTensorMap(same);
}

}  // namespace tilewise::cuda::conformance
