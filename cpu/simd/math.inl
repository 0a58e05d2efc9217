// Elementary functions on vectors. Included inside a target's anonymous namespace after its simd header.
// Reader: someone checking accuracy; test/native checks both against float64 over their whole range.

// Polynomial in x by Horner's rule, coefficients from the highest power down.
template <int N>
SIMD Vec polynomial(Vec x, const float (&c)[N]) {
  Vec p = splat(c[0]);
#pragma GCC unroll 8
  for (int i = 1; i < N; ++i) p = mulAdd(p, x, splat(c[i]));
  return p;
}

// e^x for x <= 88. From -88.03 (-127 ln 2) down the result is exactly 0, so -inf scores vanish; NaN stays NaN.
// Minimax polynomial of degree 6 on half an octave around e^0 = 1, which is exact (a row with one key returns its value
// unchanged): relative error 8e-8. Degree 5 saves half a cycle per vector, but with its 1.7e-7 a call whose rows see
// few keys has more than twice the error of a naive implementation, one in sixty.
SIMD Vec exp(Vec x) {
  const Vec shift = splat(12582912.0f + 127.0f);  // 1.5 * 2^23: adding it leaves round(x) + 127 in the low bits
  x = max(splat(-127 * kLn2), x);
  const Vec shifted = mulAdd(x, splat(kLog2E), shift);
  const Vec rest = mulAdd(sub(shifted, shift), splat(-kLn2), x);
  constexpr float c[] = {1.38436444e-3f, 8.37416295e-3f, 4.16680016e-2f, 1.66664317e-1f, 4.9999994e-1f, 1.0f, 1.0f};
  return mul(polynomial(rest, c), exponentOf(shifted));
}

// tanh to 2 ulp: an odd polynomial below 1 (where 1 - 2/(1 + e^2x) would cancel), that identity above.
SIMD Vec tanh(Vec x) {
  const Vec a = abs(x), square = mul(x, x);
  constexpr float c[] = {-3.58452e-4f,   2.3013647e-3f, -7.9461066e-3f, 2.1486657e-2f,
                         -5.3879801e-2f, 1.3332345e-1f, -3.3333296e-1f};
  const Vec small = mulAdd(mul(polynomial(square, c), square), x, x);
  const Vec bounded = whereLess(splat(9.5f), a, splat(9.5f), a);  // NaN stays; from 9.02 on tanh rounds to 1
  const Vec e = exp(add(bounded, bounded));
  const Vec big = withSignOf(sub(splat(1.0f), div(splat(2.0f), add(e, splat(1.0f)))), x);
  return whereLess(a, splat(1.0f), small, big);
}
