// The registry of kernels. Filled while the program starts, read only after that.
#include "registry.h"

#include <map>
#include <stdexcept>
#include <utility>

namespace tilewise::emulator {
namespace {

using Key = std::pair<std::string, std::string>;

// Made by the first registration, whichever file's variables are initialised first.
std::map<Key, Kernel>& kernels() {
  static std::map<Key, Kernel> registered;
  return registered;
}

std::string stemOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  const std::string file = slash == std::string::npos ? path : path.substr(slash + 1);
  return file.substr(0, file.find('.'));
}

}  // namespace

Registration::Registration(const char* source, const char* name, uint32_t threads, size_t paramBytes,
                           void (*run)(const void*)) {
  const std::string module = stemOf(source);
  if (!kernels().emplace(Key(module, name), Kernel{name, module, threads, paramBytes, run}).second) {
    throw std::logic_error("two kernels " + module + "/" + name);
  }
}

const Kernel* findKernel(const std::string& module, const std::string& name) {
  const auto found = kernels().find({module, name});
  return found == kernels().end() ? nullptr : &found->second;
}

}  // namespace tilewise::emulator
