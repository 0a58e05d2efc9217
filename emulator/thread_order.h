// The running thread in the order of races.h. Reader: operations on shared memory, and those that order it.
#pragma once

#include "races.h"

namespace tilewise::emulator {

struct Thread;

// The running thread as an agent.
Agent thisThread(const char* operation, const void* where);
// What the running thread (or another, that waits) did becomes part of a view that others will acquire; and the other
// way round.
void release(View& to);
void release(Thread& thread, View& to);
void acquire(const View& from);

// Names lines of the kernels, and fails on behalf of the running thread.
const Reporter& threadReporter();

}  // namespace tilewise::emulator
