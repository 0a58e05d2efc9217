// See driver.h. TILEWISE_LIBCUDA names another library to load as the driver. It is a hook for the tests, which put
// test/fake-driver there; nothing else sets it, and it is documented here only.

#include "driver.h"

#include <cstdlib>

#include "../../core/op/backend.h"
#include "library.h"

namespace tilewise::cuda {
namespace {

std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}
std::string needed() {
  return std::string("tilewise needs a driver for CUDA ") + kDriverFloor.toolkit + ", that is " + kDriverFloor.driver +
         " or newer";
}

// `code` and `reason` stay empty when everything is there.
void load(Driver& driver) {
  const auto refuse = [&](const char* code, const std::string& reason) {
    driver.code = code;
    driver.reason = reason;
  };
#if defined(__APPLE__)
  return refuse("ERR_TILEWISE_NO_DEVICE", "there is no CUDA on macOS");
#endif
  std::string why;
  const char* asked = std::getenv("TILEWISE_LIBCUDA");
  const Library library = openLibrary(asked, why);
  if (!library) return refuse("ERR_TILEWISE_NO_DEVICE", "no CUDA driver: " + why + "; " + needed());

  const auto getVersion = reinterpret_cast<DriverGetVersion*>(symbolOf(library, "cuDriverGetVersion"));
  int version = 0;
  if (!getVersion || getVersion(&version) != Result::success) {
    return refuse("ERR_TILEWISE_NO_DEVICE", "the CUDA driver does not say its version; " + needed());
  }
  const auto getProcAddress = reinterpret_cast<GetProcAddress*>(symbolOf(library, "cuGetProcAddress_v2"));
  if (version < kDriverFloor.version || !getProcAddress) {
    return refuse("ERR_TILEWISE_DRIVER_TOO_OLD",
                  "the CUDA driver supports CUDA " + versionText(version) + "; " + needed());
  }
  std::string missing;
#define TW_ROW(name, parameters)                                        \
  {                                                                     \
    void* function = nullptr;                                           \
    getProcAddress(#name, &function, kDriverFloor.version, 0, nullptr); \
    if (!function) missing = #name;                                     \
    driver.api.name = reinterpret_cast<Result(*) parameters>(function); \
  }
  TW_DRIVER_FUNCTIONS(TW_ROW)
#undef TW_ROW
  if (!missing.empty()) return refuse("ERR_TILEWISE_DRIVER_TOO_OLD", "the CUDA driver has no " + missing);

  if (const Result result = driver.api.cuInit(0); result != Result::success) {
    return refuse(codeOf(result), describe(driver.api, result, "cuInit"));
  }
  if (const Result result = driver.api.cuDeviceGetCount(&driver.devices); result != Result::success) {
    return refuse(codeOf(result), describe(driver.api, result, "cuDeviceGetCount"));
  }
  if (driver.devices == 0) refuse("ERR_TILEWISE_NO_DEVICE", "the CUDA driver sees no GPU");
}

const char* adviceFor(Result result) {
  switch (result) {
    case Result::outOfMemory:
      return "Dispose of tensors that are no longer used, or split the call along batch or heads";
    case Result::noDevice:
      return "The driver sees no GPU: look at nvidia-smi and, in a container, at how devices are passed in";
    case Result::deviceUnavailable: return "Another process has the GPU for itself";
    case Result::stubLibrary: return "The library is the CUDA toolkit's stub: remove its folder from LD_LIBRARY_PATH";
    case Result::systemDriverMismatch:
      return "Driver library and kernel module have different versions: restart the machine";
    case Result::unsupportedPtxVersion:
    case Result::callRequiresNewerDriver: return "Install a newer NVIDIA driver";
    case Result::jitCompilerNotFound:
      return "The driver's compiler (libnvidia-ptxjitcompiler) is not installed, and no image was built for this GPU";
    case Result::jitCompilationDisabled: return "CUDA_DISABLE_PTX_JIT is set, and no image was built for this GPU";
    default: break;
  }
  if (isSticky(result)) {
    return "The GPU's context is lost, with all tensors on it: this process cannot use that GPU again, a new one can";
  }
  return codeOf(result) == std::string("ERR_TILEWISE_NO_KERNEL") ? "The kernel images do not fit: reinstall tilewise"
                                                                 : "";
}

}  // namespace

const Driver& driver() {
  static const Driver& only = *[] {
    auto* driver = new Driver;
    load(*driver);
    return driver;
  }();
  return only;
}

bool isSticky(Result result) {
  switch (result) {
    case Result::eccUncorrectable:
    case Result::nvlinkUncorrectable:
    case Result::contained:
    case Result::illegalAddress:
    case Result::launchTimeout:
    case Result::contextIsDestroyed:
    case Result::deviceAssert:
    case Result::hardwareStackError:
    case Result::illegalInstruction:
    case Result::misalignedAddress:
    case Result::invalidAddressSpace:
    case Result::invalidPc:
    case Result::launchFailed:
    case Result::tensorMemoryLeak: return true;
    default: return false;
  }
}

const char* codeOf(Result result) {
  if (isSticky(result)) return "ERR_TILEWISE_DEVICE_LOST";
  switch (result) {
    case Result::outOfMemory: return "ERR_TILEWISE_OUT_OF_MEMORY";
    case Result::noDevice:
    case Result::invalidDevice:
    case Result::deviceUnavailable: return "ERR_TILEWISE_NO_DEVICE";
    case Result::callRequiresNewerDriver:
    case Result::unsupportedPtxVersion: return "ERR_TILEWISE_DRIVER_TOO_OLD";
    case Result::invalidImage:
    case Result::noBinaryForGpu:
    case Result::invalidPtx:
    case Result::jitCompilerNotFound:
    case Result::jitCompilationDisabled:
    case Result::notFound: return "ERR_TILEWISE_NO_KERNEL";
    default: return "ERR_TILEWISE_CUDA";
  }
}

std::string describe(const Api& api, Result result, const char* call, const std::string& detail) {
  const char *name = nullptr, *text = nullptr;
  api.cuGetErrorName(result, &name);
  api.cuGetErrorString(result, &text);
  std::string message =
      std::string(call) + " failed: " + (name ? name : "CUDA error") + " (" + std::to_string(int(result)) + ")";
  if (text) message += std::string(", ") + text;
  if (!detail.empty()) message += "; " + detail;
  const std::string advice = adviceFor(result);
  return advice.empty() ? message : message + ". " + advice;
}

void check(const Api& api, Result result, const char* call, const std::string& detail) {
  if (result != Result::success) throw BackendError(codeOf(result), describe(api, result, call, detail));
}

}  // namespace tilewise::cuda
