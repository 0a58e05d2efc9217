// See images.h.

#include "images.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

#include "../../core/op/backend.h"

namespace tilewise::cuda {
namespace {

// <module>.sm_<number>[a].fatbin or <module>.compute_<number>[a].fatbin; false for other files.
bool parse(const std::filesystem::path& file, std::string& module, Architecture& architecture) {
  if (file.extension() != ".fatbin") return false;
  const std::filesystem::path stem = file.stem();
  std::string name = stem.extension().string();
  const bool isPtx = name.compare(0, 9, ".compute_") == 0;
  if (!isPtx && name.compare(0, 4, ".sm_") != 0) return false;
  name.erase(0, name.find('_') + 1);
  const bool isExact = !name.empty() && name.back() == 'a';
  if (isExact) name.pop_back();
  if (name.size() < 2 || name.size() > 4 || name.find_first_not_of("0123456789") != std::string::npos) return false;
  module = stem.stem().string();
  architecture = {std::stoi(name), isExact, isPtx};
  return true;
}

std::string listOf(const std::set<std::string>& names) {
  std::string text = "kernels/ has ";
  size_t i = 0;
  for (const std::string& name : names) {
    text += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + name;
    ++i;
  }
  return names.empty() ? text + "none" : text;
}

}  // namespace

std::string Architecture::name() const {
  return (isPtx ? "compute_" : "sm_") + std::to_string(capability) + (isExact ? "a" : "");
}

int Architecture::fitFor(int gpu) const {
  if (isExact ? capability != gpu : capability > gpu) return 0;
  if (isPtx) return 1 + 2 * capability + isExact;
  if (capability / 10 != gpu / 10) return 0;
  constexpr int kBeyondPtx = 10'000;
  return kBeyondPtx + 2 * capability + isExact;
}

Images::Images(const std::filesystem::path& folder) {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    std::string module;
    Image image;
    image.file = entry.path();
    if (parse(entry.path(), module, image.architecture)) modules_[module].push_back(image);
  }
}

bool Images::hasAnyFor(int capability) const {
  return std::any_of(modules_.begin(), modules_.end(),
                     [&](const auto& module) { return choose(module.first, capability) != nullptr; });
}

const Image* Images::choose(const std::string& module, int capability) const {
  const auto found = modules_.find(module);
  if (found == modules_.end()) return nullptr;
  const Image* best = nullptr;
  int fit = 0;
  for (const Image& image : found->second) {
    if (const int its = image.architecture.fitFor(capability); its > fit) {
      best = &image;
      fit = its;
    }
  }
  return best;
}

std::string Images::shipped() const {
  std::set<std::string> names;
  for (const auto& [module, images] : modules_) {
    for (const Image& image : images) names.insert(image.architecture.name());
  }
  return listOf(names);
}

std::string Images::shipped(const std::string& module) const {
  std::set<std::string> names;
  if (const auto found = modules_.find(module); found != modules_.end()) {
    for (const Image& image : found->second) names.insert(image.architecture.name());
  }
  return listOf(names);
}

std::vector<char> readImage(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream || bytes.empty()) {
    throw BackendError("ERR_TILEWISE_NO_KERNEL", "the kernel image " + file.string() + " cannot be read");
  }
  struct Header {
    uint32_t magic;
    uint16_t version, headerBytes;
    uint64_t contentBytes;
  } header;
  constexpr uint32_t kMagic = 0xba55ed50;
  const bool hasHeader = bytes.size() >= sizeof(header);
  if (hasHeader) std::memcpy(&header, bytes.data(), sizeof(header));
  if (!hasHeader || header.magic != kMagic || header.contentBytes != bytes.size() - header.headerBytes) {
    throw BackendError("ERR_TILEWISE_NO_KERNEL", "the kernel image " + file.string() + " is damaged");
  }
  return bytes;
}

}  // namespace tilewise::cuda
