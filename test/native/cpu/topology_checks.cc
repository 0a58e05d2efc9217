// What the machine offers, read from folders made up like Linux's: quotas of cgroups, times of threads.
// Expected values: cgroup-v2.rst, sched-bwc.rst and sched-stats.rst of Linux's documentation.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../../../cpu/runtime/cgroup.h"
#include "../../../cpu/runtime/run_delay.h"
#include "../../../cpu/runtime/topology.h"
#include "../check.h"

using namespace tilewise::cpu;
namespace fs = std::filesystem;

namespace {

// A file system of a few files, which goes when this does.
class Files {
 public:
  Files() {
    std::string name = (fs::temp_directory_path() / "tilewise-root-XXXXXX").string();
    root_ = mkdtemp(name.data());
  }
  ~Files() { fs::remove_all(root_); }
  Files& put(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
    return *this;
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

constexpr const char* kSelf = "/proc/self/cgroup";

void checkQuotas() {
  struct Quota {
    const char* what;
    int expected;
    std::vector<std::pair<std::string, std::string>> files;
  };
  const std::string v1 = "/sys/fs/cgroup/cpu/", v2 = "/sys/fs/cgroup/";
  const std::vector<Quota> quotas{
      {"no cgroups", 0, {}},
      {"version 2 in a container", 3, {{v2 + "cpu.max", "250000 100000\n"}, {kSelf, "0::/\n"}}},
      {"version 2, no /proc", 2, {{v2 + "cpu.max", "200000 100000\n"}}},
      {"version 2 without a limit", 0, {{v2 + "cpu.max", "max 100000\n"}}},
      {"version 2, half a processor", 1, {{v2 + "cpu.max", "50000 100000\n"}}},
      {"version 2 on a host: the group's own",
       4,
       {{kSelf, "0::/user.slice/app\n"}, {v2 + "user.slice/app/cpu.max", "400000 100000\n"}}},
      {"version 2 on a host: a group around it binds more",
       2,
       {{kSelf, "0::/user.slice/app\n"},
        {v2 + "user.slice/app/cpu.max", "400000 100000\n"},
        {v2 + "user.slice/cpu.max", "200000 100000\n"}}},
      {"version 2 outside the namespace", 5, {{kSelf, "0::/../other\n"}, {v2 + "cpu.max", "500000 100000\n"}}},
      {"version 1 in a container: its group is the root, the path that of the host",
       1,
       {{kSelf, "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n"},
        {v1 + "cpu.cfs_quota_us", "50000\n"},
        {v1 + "cpu.cfs_period_us", "100000\n"}}},
      {"version 1 without a limit", 0, {{v1 + "cpu.cfs_quota_us", "-1\n"}, {v1 + "cpu.cfs_period_us", "100000\n"}}},
      {"version 1 on a host, beside version 2 for other controllers",
       6,
       {{kSelf, "12:cpuset:/\n3:cpuacct,cpu:/batch/job\n0::/batch\n"},
        {v1 + "batch/job/cpu.cfs_quota_us", "550000\n"},
        {v1 + "batch/job/cpu.cfs_period_us", "100000\n"}}},
      {"not of the group cpuset", 0, {{kSelf, "3:cpuset:/a\n"}, {v1 + "a/cpu.cfs_quota_us", "100000\n"}}},
  };
  for (const Quota& quota : quotas) {
    Files files;
    for (const auto& [path, text] : quota.files) files.put(path, text);
    const int found = cgroupProcessors(files.root());
    CHECK(found == quota.expected, "%s: %d processors, not %d", quota.what, found, quota.expected);
  }
}

void checkRunTimes() {
  Files files;
  files.put("/proc/self/task/7/schedstat", "1000 300 12\n").put("/proc/self/task/9/schedstat", "500 200 3\n");
  const tilewise::RunTimes times = runTimesOf({7, 8, 9}, files.root());
  CHECK(times.ran == 1500 && times.waited == 500, "ran %lld, waited %lld", (long long)times.ran,
        (long long)times.waited);
}

}  // namespace

int main() {
  checkQuotas();
  checkRunTimes();
  CHECK(physicalCores() >= 1, "no core at all");
  return finish("topology");
}
