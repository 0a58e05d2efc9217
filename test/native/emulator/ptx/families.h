// Tests of opcodes, by the machine's families. Reader: coverage.cc.
#pragma once

namespace tilewise::ptx {
void checkIntegerOpcodes();
void checkBitOpcodes();
void checkFloatOpcodes();
void checkComparisonOpcodes();
void checkConversionOpcodes();
void checkMoveOpcodes();
void checkMemoryOpcodes();
void checkAsyncCopyOpcodes();
void checkMbarrierOpcodes();
void checkBulkCopyOpcodes();
void checkWarpOpcodes();
void checkMatrixOpcodes();
void checkWarpgroupOpcodes();
void checkWgmmaOrder();
void checkControlOpcodes();
}  // namespace tilewise::ptx
