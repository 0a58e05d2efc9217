// Lanes: a vector as a number type of core (core/base/number.h), so that a score rule reads as its formula.
// Included inside a target's anonymous namespace after its simd header. Reader: someone who applies a rule to vectors.

struct Lanes {
  Vec v;

  SIMD Lanes(float x) : v(splat(x)) {}
  SIMD explicit Lanes(Vec x) : v(x) {}
  SIMD explicit Lanes(const float* p) : v(load(p)) {}
};

SIMD Lanes operator+(Lanes a, Lanes b) { return Lanes(add(a.v, b.v)); }
SIMD Lanes operator-(Lanes a, Lanes b) { return Lanes(sub(a.v, b.v)); }
SIMD Lanes operator*(Lanes a, Lanes b) { return Lanes(mul(a.v, b.v)); }
SIMD Lanes absolute(Lanes x) { return Lanes(abs(x.v)); }
SIMD Lanes whereLess(Lanes a, Lanes b, Lanes yes, Lanes no) { return Lanes(whereLess(a.v, b.v, yes.v, no.v)); }
SIMD Lanes whereEqual(Lanes a, Lanes b, Lanes yes, Lanes no) { return Lanes(whereEqual(a.v, b.v, yes.v, no.v)); }
