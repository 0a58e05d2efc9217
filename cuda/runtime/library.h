// Shared libraries of the system: the driver's, and where our own is.
// Reader: someone who ports the runtime. The one file here that knows operating systems is library.cc.
#pragma once

#include <filesystem>
#include <string>

namespace tilewise::cuda {

using Library = void*;

// The CUDA driver, or the library at `path` unless that is null. Null with the loader's words in `why`.
Library openLibrary(const char* path, std::string& why);
void* symbolOf(Library library, const char* name);

// The folder of the binary that contains this code: the addon.
std::filesystem::path ownFolder();

}  // namespace tilewise::cuda
