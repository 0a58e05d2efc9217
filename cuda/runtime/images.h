// Kernel images: the files kernels/<module>.<architecture>.fatbin beside the addon, and which of them a GPU gets. Each
// is a container of NVIDIA's with machine code or PTX, which the driver unpacks. Reader: someone who asks why a GPU has
// no kernels, or ships images for another one.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace tilewise::cuda {

// "sm_90a" or, of PTX, "compute_80".
struct Architecture {
  int capability = 0;  // 80, 90, 120
  bool isExact = false;  // an `a`: for this capability alone
  bool isPtx = false;

  std::string name() const;
  // How well it fits a GPU; 0: not at all. Machine code of the GPU's own capability is best, code for an older one of
  // the same generation next, PTX last: the driver has to compile that.
  int fitFor(int capability) const;
};

struct Image {
  Architecture architecture;
  std::filesystem::path file;
};

class Images {
 public:
  // Lists the folder; one that does not exist has none.
  explicit Images(const std::filesystem::path& folder);

  // Whether there is some module that a GPU can run.
  bool hasAnyFor(int capability) const;
  // Null when there is none for this GPU.
  const Image* choose(const std::string& module, int capability) const;
  // What there is, for messages: "kernels/ has sm_80, sm_90a and compute_80", of one module or of all.
  std::string shipped() const;
  std::string shipped(const std::string& module) const;

 private:
  std::map<std::string, std::vector<Image>> modules_;
};

// The bytes of a file, of which there are as many as its header says: the driver would read on. Throws BackendError.
std::vector<char> readImage(const std::filesystem::path& file);

}  // namespace tilewise::cuda
