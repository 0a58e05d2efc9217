// The numbers to tune that all operations of the CPU share. Reader: whoever tunes.
#pragma once

#include <chrono>
#include <cstdint>

namespace tilewise::cpu {

// Floating-point operations of a problem below which one thread works alone: waking others costs more than they save.
// From notes on another machine, not measured here.
constexpr double kSerialFlops = 5e6;

// Calls of fewer floating-point operations go before longer ones: about a millisecond of a core. And the time that they
// may be ahead of those on a thread. Not measured against others.
constexpr double kShortFlops = 1e8;
constexpr std::chrono::steady_clock::duration kShortSpell = std::chrono::milliseconds(5);

// An asynchronous call of attention of no more than this runs on the thread that starts it, the event loop's, which is
// held for about 25 us: one query over 64 keys, 32 heads of 128 dims on 8 KV heads. Another thread takes 20 to 30 us to
// begin and to report.
constexpr double kBriefFlops = 1 << 20;
constexpr int64_t kBriefBytes = 1 << 19;  // of keys and values

}  // namespace tilewise::cpu
