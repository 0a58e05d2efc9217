// See run_delay.h. The file and its format: Linux's scheduler/sched-stats.rst, /proc/<pid>/schedstat.
#include "run_delay.h"

#include <fstream>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tilewise::cpu {

int currentThread() {
#if defined(__linux__)
  return int(syscall(SYS_gettid));  // glibc has a wrapper from 2.30 on
#else
  return 0;
#endif
}

RunTimes runTimesOf(const std::vector<int>& threads, const std::string& root) {
  RunTimes all;
  for (const int thread : threads) {
    std::ifstream file(root + "/proc/self/task/" + std::to_string(thread) + "/schedstat");
    RunTimes own;
    if (!(file >> own.ran >> own.waited)) continue;
    all.ran += own.ran;
    all.waited += own.waited;
  }
  return all;
}

}  // namespace tilewise::cpu
