// PTX on the processor: what it refuses, and what it finds in a kernel that is wrong. What each opcode does is checked
// in ptx/. Reader: whoever changes emulator/ptx.
#include <cstring>
#include <vector>

#include "../../../emulator/global_memory.h"
#include "../../../emulator/ptx/ptx.h"
#include "checks.h"
#include "expect.h"

namespace tilewise::ptx {
namespace {

using emulator::contains;
using emulator::Grid;

const Grid kWarp{1, 32, 256}, kBlock{1, 128, 1024};

// A kernel around its statements: a pointer `out` to 512 bytes in %rd0, the thread in %r0, its address in out in %rd1,
// its shared address in %r1.
std::string kernelOf(const std::string& statements) {
  return R"(
.version 9.0
.target sm_80
.address_size 64
.extern .shared .align 1024 .b8 dynamicShared[];
.visible .entry kernel(.param .u64 out)
{
.reg .pred %p<4>; .reg .b16 %rs<4>; .reg .b32 %r<16>; .reg .b64 %rd<8>;
ld.param.u64 %rd0, [out];
mov.u32 %r0, %tid.x;
mul.wide.u32 %rd1, %r0, 4;
add.s64 %rd1, %rd0, %rd1;
shl.b32 %r1, %r0, 2;
mov.u32 %r2, dynamicShared;
add.s32 %r1, %r1, %r2;
)" + statements +
         "\nret;\n}\n.file 1 \"/kernels/tile.h\"\n.file 2 \"/kernels/attend.cu\"\n";
}

struct Outcome {
  std::string error;
  std::vector<uint32_t> out;
};

Outcome run(const std::string& statements, const Grid& grid, const std::string& words) {
  emulator::Memory memory;
  emulator::Options options = emulator::parseOptions(words);
  options.memory = &memory;
  void* out = memory.allocate(512);
  Outcome outcome;
  try {
    const Module module(kernelOf(statements));
    module.launch("kernel", grid, options, &out);
  } catch (const emulator::Error& error) {
    outcome.error = error.what();
  }
  outcome.out.resize(128);
  std::memcpy(outcome.out.data(), out, 512);
  return outcome;
}

template <class... Part>
void expectFault(const char* name, const Grid& grid, const std::string& words, const std::string& statements,
                 Part... parts) {
  const std::string error = run(statements, grid, words).error;
  for (const std::string& part : {std::string(parts)...}) {
    CHECK(contains(error, part), "%s, %s: no '%s' in: %s", name, words.c_str(), part.c_str(), error.c_str());
  }
}

void checkRefusals() {
  const auto expect = [](const char* name, const std::string& statements, const std::string& part) {
    expectFault(name, kWarp, "lazy", statements, "line 16 of the PTX", part);
  };
  expect("an opcode", "frobnicate.b32 %r3, %r0;", "frobnicate.b32: is not known");
  expect("a modifier", "add.sat.s32 %r3, %r0, %r0;", "add.sat.s32: is not known");
  expect("a width", "add.s32 %rd3, %r0, %r0;", "not known with these operands: %rd3 %r0 %r0");
  expect("a number of operands", "add.s32 %r3, %r0;", "not known with these operands");
  expect("bytes of a copy", "cp.async.cg.shared.global [%r1], [%rd0], 8, %r0;", "not known with these operands");
  expect("a special register", "mov.u32 %r3, %tid.y;", "'%tid.y' is no register that is known");
  expect("a register", "mov.u32 %r3, %r16;", "'%r16' is no register that is known");
  expect("a label", "bra L;", "there is no label L");
  expect("a directive", ".local .b8 stack[4];", "'.local' is not known inside kernels");
  expect("a register that nothing writes", "mov.u32 %r4, %r3;", "reads a register that nothing writes");
}

void checkRegisters() {
  // Only odd lanes write %r3.
  const Outcome got = run(R"(and.b32 %r4, %r0, 1;
setp.ne.s32 %p0, %r4, 0;
@%p0 mov.u32 %r3, 7;
st.global.u32 [%rd1], %r3;)",
                          kWarp, "lazy");
  CHECK(got.error.empty() && got.out[1] == 7 && got.out[0] != 7 && got.out[0] == got.out[2], "%s: %x %x",
        got.error.c_str(), got.out[0], got.out[1]);
  expectFault("an address that nothing was written to", kWarp, "lazy",
              "setp.lt.s32 %p0, %r0, 3;\n@%p0 mov.u64 %rd2, %rd0;\nst.global.u32 [%rd2], %r0;", "thread 3",
              "outside every allocation");
}

void checkMemory() {
  expectFault("a store past the end", kWarp, "lazy", "st.global.u32 [%rd1+400], %r0;", "thread 28 (warp 0 lane 28)",
              "st.global.u32 @(line 16 of the PTX): outside every allocation");
  expectFault("the last word of all", kWarp, "lazy", "mov.u64 %rd2, -4;\nst.global.u32 [%rd2], %r0;", "thread 0",
              "outside every allocation");
  expectFault("the lines of the source", kWarp, "lazy",
              ".loc 2 5 1\n.loc 1 12 3, function_name $L__info_string0, inlined_at 2 5 1\nst.global.u32 [%rd0+2], %r0;",
              "@tile.h:12 < attend.cu:5 (line 18 of the PTX): misaligned");
  expectFault("a misaligned load", kWarp, "lazy", "ld.global.u32 %r3, [%rd1+2];", "misaligned");
  expectFault("parameters", kWarp, "lazy", "ld.param.u64 %rd2, [out+8];", "outside the parameters, at 8");
  expectFault("shared memory", kWarp, "lazy", "st.shared.b32 [%r1+192], %r0;", "thread 16",
              "4 bytes at shared address 1280 are outside the block's 256");
  const Outcome fresh = run("ld.shared.b32 %r3, [%r1];\nst.global.u32 [%rd1], %r3;", kWarp, "lazy");
  CHECK(fresh.out[5] == 0xffffffff, "shared memory is not poisoned: %x", fresh.out[5]);
}

const char* const kHalfWarp = R"(setp.lt.s32 %p0, %r0, 16;
@!%p0 bra L;
)";

void checkWarps() {
  const std::string half = kHalfWarp;
  expectFault("a shuffle by half a warp", kWarp, "lazy", half + "shfl.sync.idx.b32 %r3|%p1, %r0, 0, 31, -1;\nL:",
              "the mask ffffffff names other lanes than are there, 0000ffff");
  expectFault("a lane that is not there", kWarp, "lazy",
              half + "shfl.sync.idx.b32 %r3|%p1, %r0, 20, 31, 65535;\nL:", "reads lane 20, which is not there");
  expectFault("ldmatrix by half a warp", kWarp, "lazy",
              half + "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r3, %r4, %r5, %r6}, [%r2];\nL:",
              "some lanes of the warp are missing, there are 0000ffff");
  expectFault("bar.sync by half a warp", kWarp, "lazy", half + "bar.sync 0;\nL:", "some lanes of the warp are missing");
  // Both sides of a branch, a loop of as many rounds as the lane says, and all lanes together again.
  const Outcome got = run(R"(mov.u32 %r3, 0;
mov.u32 %r4, 0;
setp.lt.s32 %p0, %r0, 16;
@%p0 bra LOOP;
mov.u32 %r4, 1000;
bra.uni JOIN;
LOOP:
add.s32 %r4, %r4, 10;
add.s32 %r3, %r3, 1;
setp.le.s32 %p1, %r3, %r0;
@%p1 bra LOOP;
JOIN:
shfl.sync.bfly.b32 %r5|%p2, %r4, 16, 31, -1;
add.s32 %r5, %r5, %r4;
st.global.u32 [%rd1], %r5;)",
                          kWarp, "lazy");
  bool isOk = got.error.empty();
  for (uint32_t lane = 0; lane < 32; ++lane) isOk = isOk && got.out[lane] == 1000 + (lane % 16 + 1) * 10;
  CHECK(isOk, "branches: %s", got.error.c_str());
}

void checkBarriers() {
  expectFault("a barrier that a warp misses", kBlock, "lazy",
              "setp.lt.s32 %p0, %r0, 32;\n@%p0 bra L;\nbar.sync 0;\nL:", "deadlock", "warp 0: has left the kernel",
              "warp 3: bar.sync @(line 18 of the PTX)");
  expectFault("warps that disagree", kBlock, "lazy",
              "setp.lt.s32 %p0, %r0, 32;\n@%p0 bra L;\nbar.sync 1, 96;\nbra.uni M;\nL:\nbar.sync 1, 64;\nM:",
              "warps disagree on barrier 1, of 64 and 96 threads");
  expectFault("there are sixteen", kBlock, "lazy", "bar.sync 16;", "there is no barrier 16");
  expectFault("a kernel without end", kWarp, "lazy", "L:\nbra.uni L;", "runs for ever");
}

// Each warp writes its slot, and reads that of the next.
std::string exchange(const std::string& between) {
  return "st.shared.b32 [%r1], %r0;\n" + between + R"(
add.s32 %r3, %r0, 32;
and.b32 %r3, %r3, 127;
shl.b32 %r3, %r3, 2;
add.s32 %r3, %r3, %r2;
ld.shared.b32 %r4, [%r3];
st.global.u32 [%rd1], %r4;)";
}

void checkRaces() {
  for (const char* words : {"lazy", "races", "random:1", "races,random:2"}) {
    const Outcome got = run(exchange("bar.sync 0;"), kBlock, words);
    CHECK(got.error.empty() && got.out[3] == 35 && got.out[100] == 4, "%s: %s", words, got.error.c_str());
  }
  expectFault("no barrier", kBlock, "races", exchange(""), "race, write after read", "st.shared.b32 by thread",
              "ld.shared.b32 by thread", "of the PTX");
  expectFault("a barrier of the warp", kBlock, "races", exchange("bar.warp.sync -1;"), "race");
  expectFault("the next lane", kWarp, "races",
              "st.shared.b32 [%r1], %r0;\nxor.b32 %r3, %r1, 4;\nld.shared.b32 %r4, [%r3];", "race, read after write");
  const Outcome ordered = run(
      "st.shared.b32 [%r1], %r0;\nbar.warp.sync -1;\nxor.b32 %r3, %r1, 4;\nld.shared.b32 %r4, [%r3];", kWarp, "races");
  CHECK(ordered.error.empty(), "%s", ordered.error.c_str());
}

// Each thread writes its word of global memory, and reads that of a thread of the next warp.
std::string passOn(const std::string& between) {
  return "st.global.u32 [%rd1], %r0;\n" + between + R"(
add.s32 %r3, %r0, 32;
and.b32 %r3, %r3, 127;
mul.wide.u32 %rd2, %r3, 4;
add.s64 %rd2, %rd0, %rd2;
ld.global.u32 %r4, [%rd2];
)";
}

void checkRacesOnGlobalMemory() {
  for (const char* words : {"races", "races,random:2"}) {
    const Outcome got = run(passOn("bar.sync 0;") + "bar.sync 0;\nst.global.u32 [%rd1], %r4;", kBlock, words);
    CHECK(got.error.empty() && got.out[3] == 35 && got.out[100] == 4, "%s: %s", words, got.error.c_str());
  }
  expectFault("no barrier before a read", kBlock, "races,random:2", passOn(""), "race, read after write at global",
              "st.global.u32 by thread", "ld.global.u32 by thread");
  expectFault("a barrier of the warp alone", kBlock, "races,random:2", passOn("bar.warp.sync -1;"), "read after write");
  expectFault("all write one word", kWarp, "races", "st.global.u32 [%rd0], %r2;", "race, write after write at global",
              "by thread 0", "by thread 1");
  expectFault("two blocks", {2, 32, 256}, "races", "st.global.u32 [%rd1], %r0;", "block 1 thread",
              "race, blocks 0 and 1 both write at global", "st.global.u32 @(line 16 of the PTX)");
  const Outcome halves =
      run("sub.s64 %rd2, %rd1, %rd0;\nshr.u64 %rd2, %rd2, 1;\n"
          "add.s64 %rd2, %rd2, %rd0;\nst.global.u16 [%rd2], %r0;",
          kWarp, "races");
  CHECK(halves.error.empty() && halves.out[1] == 0x30002, "halves of a word: %s", halves.error.c_str());
}

void checkAsyncCopies() {
  const std::string prepare =
      "mov.u32 %r5, 16;\nst.global.u32 [%rd1], %r0;\nbar.warp.sync -1;\nshl.b32 %r3, %r0, 4;\n"
      "and.b32 %r3, %r3, 127;\nadd.s32 %r3, %r3, %r2;\ncvt.u64.u32 %rd3, %r0;\n"
      "and.b64 %rd3, %rd3, 7;\nshl.b64 %rd3, %rd3, 4;\nadd.s64 %rd3, %rd0, %rd3;\n"
      "setp.lt.s32 %p0, %r0, 8;\n@%p0 cp.async.cg.shared.global [%r3], [%rd3], 16, %r5;\n"
      "cp.async.commit_group;\n";
  const std::string use = "bar.warp.sync -1;\nld.shared.b32 %r4, [%r1];\nst.global.u32 [%rd1], %r4;";
  for (const char* words : {"lazy", "eager", "random:1", "races"}) {
    const Outcome got = run(prepare + "cp.async.wait_group 0;\n" + use, kWarp, words);
    CHECK(got.error.empty() && got.out[0] == 0 && got.out[31] == 31, "%s: %s", words, got.error.c_str());
  }
  const Outcome early = run(prepare + "cp.async.wait_group 1;\n" + use, kWarp, "lazy");
  CHECK(early.out[0] == 0xffffffff, "what is in flight is not poison: %x", early.out[0]);
  expectFault("nobody waits", kWarp, "races", prepare + "cp.async.wait_group 1;\n" + use, "race, read after write",
              "cp.async by cp.async of thread 0");
}

}  // namespace

void checkPtx() {
  checkRefusals();
  checkRegisters();
  checkMemory();
  checkWarps();
  checkBarriers();
  checkRaces();
  checkRacesOnGlobalMemory();
  checkAsyncCopies();
}

}  // namespace tilewise::ptx
