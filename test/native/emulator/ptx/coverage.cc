// Every opcode has a test: each that nvcc writes into the kernels today, and each row of the machine's tables, with its
// form of operands. Reader: whoever sees it fail, and adds an opcode's test to its family here.
#include "../../../../emulator/ptx/ptx.h"
#include "../../check.h"
#include "../checks.h"
#include "families.h"
#include "line.h"

namespace tilewise::ptx {
namespace {

constexpr const char* kInUse[] = {
#include "opcodes_in_use.inc"
};

}  // namespace

void checkOpcodes() {
  checkIntegerOpcodes();
  checkBitOpcodes();
  checkFloatOpcodes();
  checkComparisonOpcodes();
  checkConversionOpcodes();
  checkMoveOpcodes();
  checkMemoryOpcodes();
  checkAsyncCopyOpcodes();
  checkMbarrierOpcodes();
  checkBulkCopyOpcodes();
  checkWarpOpcodes();
  checkMatrixOpcodes();
  checkWarpgroupOpcodes();
  checkControlOpcodes();
  for (const char* opcode : kInUse) CHECK(isTested(opcode), "kernels use %s, which has no test", opcode);
  for (const KnownOpcode& known : knownOpcodes()) {
    const std::string name(known.name), operands(known.operands);
    CHECK(isTested(name, operands), "%s, operands \"%s\", has no test", name.c_str(), operands.c_str());
  }
}

}  // namespace tilewise::ptx
