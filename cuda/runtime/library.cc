// See library.h.

#include "library.h"

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace tilewise::cuda {

#ifdef _WIN32

Library openLibrary(const char* path, std::string& why) {
  // From the system's folder alone: a file of that name beside some program is not the driver.
  const HMODULE library =
      path ? LoadLibraryA(path) : LoadLibraryExA("nvcuda.dll", nullptr, LOAD_LIBRARY_SEARCH_SYSTEM32);
  if (!library) {
    why = std::string(path ? path : "nvcuda.dll") + ": Windows error " + std::to_string(GetLastError());
  }
  return reinterpret_cast<Library>(library);
}

void* symbolOf(Library library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(reinterpret_cast<HMODULE>(library), name));
}

std::filesystem::path ownFolder() {
  HMODULE module = nullptr;
  wchar_t path[32768];
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                     reinterpret_cast<LPCWSTR>(&ownFolder), &module);
  const DWORD length = GetModuleFileNameW(module, path, DWORD(std::size(path)));
  return std::filesystem::path(path, path + length).parent_path();
}

#else

Library openLibrary(const char* path, std::string& why) {
  const Library library = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) why = dlerror();
  return library;
}

void* symbolOf(Library library, const char* name) { return dlsym(library, name); }

std::filesystem::path ownFolder() {
  Dl_info info{};
  dladdr(reinterpret_cast<const void*>(&ownFolder), &info);
  return std::filesystem::path(info.dli_fname ? info.dli_fname : "").parent_path();
}

#endif

}  // namespace tilewise::cuda
