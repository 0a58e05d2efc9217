// See topology.h. Linux reads sysfs and cgroups; elsewhere the C++ library's count stands in.
#include "topology.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "cgroup.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace tilewise::cpu {
namespace {

#if defined(__linux__)
bool readInt(const std::string& path, int& value) {
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (!file) return false;
  const bool isRead = std::fscanf(file, "%d", &value) == 1;
  std::fclose(file);
  return isRead;
}

int coresInAffinityMask() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 0;
  std::set<std::pair<int, int>> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    int package = 0, core = cpu;
    if (!readInt(topology + "physical_package_id", package) || !readInt(topology + "core_id", core)) core = cpu;
    cores.insert({package, core});
  }
  return int(cores.size());
}
#endif

}  // namespace

int physicalCores() {
  int cores = int(std::thread::hardware_concurrency());
#if defined(__linux__)
  if (const int own = coresInAffinityMask()) cores = own;
  if (const int granted = cgroupProcessors()) cores = std::min(cores, granted);
#endif
  return std::max(1, cores);
}

}  // namespace tilewise::cpu
