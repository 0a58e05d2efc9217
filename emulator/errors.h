// Messages: which thread of which block, at which line of the kernel.
// Reader: every operation that checks something.
#pragma once

#include <string>

// Where the kernel called the operation that this stands in. The operation must not be inlined.
#define TW_WHERE __builtin_return_address(0)
#define TW_OPERATION __attribute__((noinline))

namespace tilewise::emulator {

// The message, after the running thread's name.
std::string withThread(const std::string& what);

// Throws it as an Error.
[[noreturn]] void fail(const std::string& what);

// "softmax.h:41 < attention.h:120": the line, and those that inlined it. An address where there is no debug
// information.
std::string sourceLine(const void* where);

// What every thread of the block waits for.
[[noreturn]] void failDeadlocked();

}  // namespace tilewise::emulator
