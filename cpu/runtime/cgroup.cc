// See cgroup.h. Files and formats: Linux's cgroup-v2.rst (cpu.max) and sched-bwc.rst (cpu.cfs_quota_us of version 1).
#include "cgroup.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>

namespace tilewise::cpu {
namespace {

int processors(int64_t quota, int64_t period) {
  return quota > 0 && period > 0 ? int((quota + period - 1) / period) : 0;
}

// Of the folder of one group. Files that are not there or say "max" or -1 limit nothing.
int quotaOfVersion2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  int64_t quota = 0, period = 0;
  return file >> quota >> period ? processors(quota, period) : 0;
}
int quotaOfVersion1(const std::string& folder) {
  std::ifstream quotaFile(folder + "/cpu.cfs_quota_us"), periodFile(folder + "/cpu.cfs_period_us");
  int64_t quota = 0, period = 0;
  return quotaFile >> quota && periodFile >> period ? processors(quota, period) : 0;
}

// The least quota of a group and of those around it: each binds all that are inside. A container often finds its own
// group mounted as the hierarchy's root, and no folder for the path.
int leastQuota(const std::string& hierarchy, std::string group, int (*quotaOf)(const std::string&)) {
  int least = 0;
  for (;;) {
    if (const int granted = quotaOf(hierarchy + group)) least = least ? std::min(least, granted) : granted;
    if (group.empty()) return least;
    group.resize(group.find_last_of('/'));
  }
}

// The path of this process's group in /proc/self/cgroup, where a line is "id:controllers:path"; version 2 names no
// controllers. Empty, for the root, where it is not said, or lies outside the namespace.
std::string groupOf(const std::string& root, const std::string& controller) {
  std::ifstream file(root + "/proc/self/cgroup");
  std::string id, controllers, path;
  while (std::getline(file, id, ':') && std::getline(file, controllers, ':') && std::getline(file, path)) {
    std::istringstream names(controllers);
    std::string name;
    bool isWanted = controllers == controller;
    while (std::getline(names, name, ',')) isWanted = isWanted || name == controller;
    if (!isWanted) continue;
    return path == "/" || path.find("/..") != std::string::npos ? "" : path;
  }
  return {};
}

}  // namespace

int cgroupProcessors(const std::string& root) {
  const std::string mount = root + "/sys/fs/cgroup";
  const int unified = leastQuota(mount, groupOf(root, ""), quotaOfVersion2);
  return unified ? unified : leastQuota(mount + "/cpu", groupOf(root, "cpu"), quotaOfVersion1);
}

}  // namespace tilewise::cpu
