// See loaded_kernels.h.

#include "loaded_kernels.h"

#include "../../core/op/backend.h"

namespace tilewise::cuda {

LoadedKernels::LoadedModule LoadedKernels::load(const std::string& module) {
  const int32_t capability = device_.limits().computeCapability;
  const Image* image = images_.choose(module, capability);
  if (!image) {
    throw BackendError("ERR_TILEWISE_NO_KERNEL", "no kernel image of " + module + " for sm_" +
                                                     std::to_string(capability) + " (" + device_.name() +
                                                     "): " + images_.shipped(module));
  }
  LoadedModule loaded;
  loaded.file = image->file.filename().string();
  const std::vector<char> bytes = readImage(image->file);
  char log[4096] = "";
  int options[] = {kJitErrorLog, kJitErrorLogBytes};
  void* values[] = {log, reinterpret_cast<void*>(sizeof(log))};
  const Result result = device_.api().cuModuleLoadDataEx(&loaded.module, bytes.data(), 2, options, values);
  device_.check(result, "cuModuleLoadDataEx", result == Result::success ? "" : loaded.file + " " + log);
  return loaded;
}

Function LoadedKernels::find(const std::string& module, const std::string& kernel, uint32_t sharedBytes) {
  const Api& api = device_.api();
  const std::lock_guard<std::mutex> lock(mutex_);
  auto found = modules_.find(module);
  if (found == modules_.end()) found = modules_.emplace(module, load(module)).first;
  LoadedModule& loaded = found->second;
  Kernel& entry = loaded.kernels[kernel];
  if (!entry.function) {
    device_.check(api.cuModuleGetFunction(&entry.function, loaded.module, kernel.c_str()), "cuModuleGetFunction",
                  loaded.file + " has no " + kernel);
  }
  if (sharedBytes > entry.sharedBytes) {
    device_.check(api.cuFuncSetAttribute(entry.function, kFunctionDynamicSharedBytes, int(sharedBytes)),
                  "cuFuncSetAttribute", std::to_string(sharedBytes) + " bytes of shared memory for " + kernel);
    entry.sharedBytes = sharedBytes;
  }
  return entry.function;
}

}  // namespace tilewise::cuda
