// Which thread of a block runs next. Threads give up the processor only inside operations.
// Reader: whoever writes an operation that waits.
#pragma once

#include "block.h"
#include "fiber.h"

namespace tilewise::emulator {

void makeReady(const Thread& thread);

// Until another thread makes this one ready.
void suspend();
// Lets others run in between. In order of lanes it would change nothing, so only seeded schedules do it.
void yieldIfSeeded();
void yieldSometimes();

// Runs all threads of the block; throws what one of them threw.
void runBlock(Block& block, const Stacks& stacks);

}  // namespace tilewise::emulator
