// Tensor cores, one warp at a time (sm_80): ldmatrix, mma.sync, and stmatrix (sm_90).
// Which lane holds what: PTX ISA, "Warp-level matrix instructions"; checked by test/native/primitives.
#pragma once

#include "shared.h"

namespace tilewise::cuda {

// Four 8x8 matrices of 16 bits. Lane 8m + i gives the address of row i of matrix m; lane l receives, in r[m], columns
// 2 (l % 4) and the next of row l / 4.
TW_PRIM void ldmatrix_x4(uint32_t (&r)[4], saddr row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
// The same with each matrix transposed on the way.
TW_PRIM void ldmatrix_x4_trans(uint32_t (&r)[4], saddr row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
TW_PRIM void stmatrix_x4(saddr row, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(r[0]), "r"(r[1]),
               "r"(r[2]), "r"(r[3])
               : "memory");
}

#define TW_MMA_M16N8K16(type)                                                         \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                 \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))

// d (16x8, float32) += a (16x16) * b (16x8)
template <class E>
TW_PRIM void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <>
TW_PRIM void mma_m16n8k16<bf16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  TW_MMA_M16N8K16("bf16");
}
template <>
TW_PRIM void mma_m16n8k16<f16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  TW_MMA_M16N8K16("f16");
}
#undef TW_MMA_M16N8K16

// The two products that one ldmatrix_x4 of b feeds: columns 0 to 7 into d0, 8 to 15 into d1.
template <class E>
TW_PRIM void mma_m16n16k16(float (&d0)[4], float (&d1)[4], const uint32_t (&a)[4], const uint32_t (&b)[4]) {
  mma_m16n8k16<E>(d0, a, b[0], b[1]);
  mma_m16n8k16<E>(d1, a, b[2], b[3]);
}

// d (16x8, float32) += a (16x8) * b (8x8), operands rounded by to_tf32
TW_PRIM void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace tilewise::cuda
