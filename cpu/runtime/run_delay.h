// How long threads ran and how long they waited for a processor. Reader: someone who asks whether others hold ours.
#pragma once

#include <string>
#include <vector>

#include "../../core/op/backend.h"

namespace tilewise::cpu {

// The calling thread's number in /proc/self/task; 0 elsewhere than on Linux.
int currentThread();

// `root` is the root of the file system, for tests.
RunTimes runTimesOf(const std::vector<int>& threads, const std::string& root = "");

}  // namespace tilewise::cpu
