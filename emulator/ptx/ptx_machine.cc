// Files of modules.
#include "ptx_machine.h"

#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include "ptx.h"

namespace tilewise::ptx {
namespace {

class Modules {
 public:
  explicit Modules(std::string folder) : folder_(std::move(folder)) {}

  // Null where there is no such file.
  const Module* find(const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::unique_ptr<Module>& known = modules_[name];
    if (known) return known.get();
    std::ifstream file(folder_ + "/" + name + ".ptx");
    if (!file) return nullptr;
    std::stringstream text;
    text << file.rdbuf();
    known = std::make_unique<Module>(text.str());
    return known.get();
  }

 private:
  const std::string folder_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Module>> modules_;
};

}  // namespace

emulator::FindKernel kernelsOf(const std::string& folder) {
  const auto modules = std::make_shared<Modules>(folder);
  return [modules](const std::string& moduleName, const std::string& name) -> emulator::LocalKernel {
    const Module* module = modules->find(moduleName);
    if (module == nullptr || !module->has(name)) return {};
    const Declaration& declaration = module->declaration(name);
    return {declaration.threads, declaration.paramBytes,
            [module, name](const emulator::Grid& grid, const emulator::Options& options, const void* params) {
              module->launch(name, grid, options, params);
            }};
  };
}

}  // namespace tilewise::ptx
