// See ../backends.h. Everything made here is never destroyed: threads of a backend may outlive main().

#include "backends.h"

#include <string>

#include "../backend.h"
#include "../backends.h"
#include "../operations.h"
#include "library.h"
#include "driver_machine.h"

namespace tilewise::cuda {
namespace {

// What the least of the GPUs that images are built for has: sm_86 and sm_89 give a block 99 KB.
constexpr cuda::Limits kTypical{80, 64, 99 << 10};

// A GPU that cannot be used, and why.
class Unavailable final : public Backend {
 public:
  Unavailable(std::string name, const char* code, std::string reason)
      : name_(std::move(name)), code_(code), reason_(std::move(reason)) {}

  const char* name() const override { return name_.c_str(); }
  Availability availability() const override { return {false, reason_, code_}; }
  std::vector<std::string> supports(const AnyProblem& p) const override { return cuda::reasonsAgainst(p, kTypical); }
  TileChoice tiles(const AttentionProblem& p) const override { return cuda::tilesFor(p); }
  LinearPasses passes(const AnyProblem& problem) const override {
    return std::visit([](const auto& p) { return cuda::passesOf(p, kTypical); }, problem);
  }
  void run(const AnyProblem&, const CancelFlag&) override { refuse(); }
  void submit(const AnyProblem&, const CancelFlag&, Completion) override { refuse(); }

 private:
  [[noreturn]] void refuse() const { throw BackendError(code_, reason_); }

  std::string name_;
  const char* code_;
  std::string reason_;
};

Backend* backendOf(const Driver& driver, int ordinal, const Images& images) {
  const std::string name = ordinal == 0 ? "cuda" : "cuda:" + std::to_string(ordinal);
  try {
    auto* machine = new DriverMachine(driver, ordinal, images);
    const int32_t capability = machine->limits().computeCapability;
    if (images.hasAnyFor(capability)) return new cuda::GpuBackend(name, *machine, machine->name());
    return new Unavailable(
        name, "ERR_TILEWISE_NO_KERNEL",
        "no kernel image for sm_" + std::to_string(capability) + " (" + machine->name() + "): " + images.shipped());
  } catch (const BackendError& error) {
    return new Unavailable(name, error.code, error.what());
  }
}

}  // namespace

std::vector<Backend*> backendsWithKernels(const std::filesystem::path& folder) {
  const Driver& driver = cuda::driver();
  if (driver.code) return {new Unavailable("cuda", driver.code, driver.reason)};
  const auto* images = new Images(folder);
  std::vector<Backend*> all;
  std::string reasons;
  bool isSomeAvailable = false;
  for (int ordinal = 0; ordinal < driver.devices; ++ordinal) {
    all.push_back(backendOf(driver, ordinal, *images));
    const Availability availability = all.back()->availability();
    isSomeAvailable |= availability.isAvailable;
    if (!availability.isAvailable) reasons += (reasons.empty() ? "" : "; ") + availability.reason;
  }
  if (isSomeAvailable) return all;
  return {new Unavailable("cuda", all.front()->availability().code, reasons)};
}

std::vector<Backend*> backends() { return backendsWithKernels(ownFolder() / "kernels"); }

}  // namespace tilewise::cuda
