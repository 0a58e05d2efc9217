// The running thread in the order of races.h. Reader: operations on shared memory, and those that order it.
#pragma once

#include "block_memory.h"

namespace tilewise::emulator {

struct Thread;

// The running thread, which executes this from now on.
Caller caller(const char* operation, const void* where);
// The running thread as an agent.
Agent thisThread(const char* operation, const void* where);
// What a thread did becomes part of a view that others will acquire.
void release(Thread& thread, View& to);

}  // namespace tilewise::emulator
