// Codes times digits: the products of a query with codes, and of weights with them, as sums of bytes that have no
// rounding. A number becomes three signed bytes of fixed point; a code is a byte already. Included inside a target's
// anonymous namespace. Reader: someone who knows coded_steps.inl, whose loops on floats do the rest.
// One vpdpbusd takes 64 products, where floats need a conversion and a sum for each 16 (AVX-512, 32k keys, 8 heads).

#if defined(__AVX512BW__)
#define TILEWISE_BYTE_PRODUCTS __attribute__((target("avx512vnni")))

constexpr int kDigits = 3, kDigitBytes = 64;

// Fixed point for numbers up to the largest of some: x is about unit * (d0 + 256 * d1 + 65536 * d2), to 2^-23 of it.
class FixedPoint {
 public:
  float unit = 0;

  // Whether there is one for n numbers: not where some are not finite, or all are next to nothing.
  bool fit(const float* x, int n) {
    constexpr float kMost = 8300000;  // digits are at most 127
    __m512i bits = _mm512_setzero_si512();
    for (int i = 0; i < n; i += kLanes) bits = _mm512_max_epi32(bits, _mm512_castps_si512(abs(load(x + i))));
    const float most = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(bits))));
    if (!(most < INFINITY) || (most < 1e-30f && most != 0)) return false;
    unit = most / kMost;
    inverse_ = most == 0 ? 0 : kMost / most;
    return true;
  }
  // The digits of kLanes numbers, those of each place in bytes of their own.
  SIMD void write(const float* x, int8_t* to) const {
    __m512i rest = _mm512_cvtps_epi32(mul(load(x), splat(inverse_)));
    for (int digit = 0; digit < kDigits; ++digit) {
      _mm_storeu_si128((__m128i*)(to + digit * kDigitBytes), _mm512_cvtepi32_epi8(rest));
      rest = _mm512_srai_epi32(_mm512_add_epi32(rest, _mm512_set1_epi32(128)), 8);
    }
  }

 private:
  float inverse_ = 0;
};

// sum += of four products of bytes in each lane. As an intrinsic GCC 12 copies every sum once per step.
SIMD void addProducts(__m512i& sum, __m512i codes, __m512i digits) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(digits));
}

// Codes by digits, summed by place: as floats, in units.
SIMD Vec valueOfDigits(const __m512i (&sum)[kDigits]) {
  const Vec low = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(sum[1], 8), sum[0]));
  return mulAdd(_mm512_cvtepi32_ps(sum[2]), splat(65536), low);
}

template <int Bits>
SIMD __m512i codeField(__m512i bytes, int field) {
  if constexpr (Bits == 8) return bytes;
  return _mm512_and_si512(_mm512_srli_epi16(bytes, unsigned(Bits * field)), _mm512_set1_epi8((1 << Bits) - 1));
}

// A query as digits: [vectors of codes][fields][kDigits][kDigitBytes].
class QueryDigits {
 public:
  // Whether the query can be taken so, for keys of this form. `room`: of the digits.
  template <int Bits>
  bool set(const CodeForm& form, const float* query, float* room) {
    constexpr int kFields = 8 / Bits;
    if (!hasByteProducts() || form.rowBytes % kDigitBytes != 0 || !point_.fit(query, form.dim)) return false;
    digits_ = reinterpret_cast<int8_t*>(room);
    for (int d = 0; d < form.dim; d += kLanes) {
      const int chunk = d / kLanes / kFields, field = d / kLanes % kFields, vector = chunk / 4;
      int8_t* const to = digits_ + (vector * kFields + field) * (kDigits * kDigitBytes) + chunk % 4 * kLanes;
      point_.write(query + d, to);
    }
    return true;
  }
  float unit() const { return point_.unit; }

  // acc[key] = query . codes of key, in units, lane by lane: kLanes rows of codes from `row` on.
  template <int Bits>
  TILEWISE_BYTE_PRODUCTS void products(const uint8_t* row, int64_t rowBytes, BytesToCome& toCome,
                                       Vec (&acc)[kLanes]) const {
    constexpr int kKeys = 4, kFields = 8 / Bits;
    BytesToCome requests = toCome;  // in registers
#pragma GCC unroll 1
    for (int first = 0; first < kLanes; first += kKeys, row += kKeys * rowBytes) {
      __m512i sum[kKeys][kDigits];
#pragma GCC unroll 4
      for (int j = 0; j < kKeys; ++j)
#pragma GCC unroll 3
        for (int digit = 0; digit < kDigits; ++digit) sum[j][digit] = _mm512_setzero_si512();
      const int8_t* digits = digits_;
#pragma GCC unroll 1
      for (int64_t byte = 0; byte < rowBytes; byte += kDigitBytes, digits += kFields * kDigits * kDigitBytes) {
        requests.step();
        requests.step();
#pragma GCC unroll 4
        for (int f = 0; f < kFields; ++f) {
          __m512i of[kDigits];
#pragma GCC unroll 3
          for (int digit = 0; digit < kDigits; ++digit)
            of[digit] = _mm512_loadu_si512(digits + (f * kDigits + digit) * kDigitBytes);
#pragma GCC unroll 4
          for (int j = 0; j < kKeys; ++j) {
            const __m512i codes = codeField<Bits>(_mm512_loadu_si512(row + j * rowBytes + byte), f);
#pragma GCC unroll 3
            for (int digit = 0; digit < kDigits; ++digit) addProducts(sum[j][digit], codes, of[digit]);
          }
        }
      }
#pragma GCC unroll 4
      for (int j = 0; j < kKeys; ++j) acc[first + j] = valueOfDigits(sum[j]);
    }
    toCome = requests;
  }

 private:
  FixedPoint point_;
  int8_t* digits_ = nullptr;
};

// Four dwords, or as many as there are groups, each in its part of the lanes.
template <int Groups>
SIMD __m512i lanesOfGroups(const int8_t* at, int64_t apart) {
  __m512i lanes = _mm512_broadcastd_epi32(_mm_loadu_si32(at));
#pragma GCC unroll 3
  for (int g = 1; g < Groups; ++g) {
    constexpr int kOfGroup = kLanes / Groups;
    const __mmask16 mask = ((1 << kOfGroup) - 1) << g * kOfGroup;
    lanes = _mm512_mask_broadcastd_epi32(lanes, mask, _mm_loadu_si32(at + g * apart));
  }
  return lanes;
}

// Adds the values of a vector of codes, or of half the bytes of each chunk of it, to the output of its channels. Digits
// are [Groups][kDigits][kDecodeKeys]. Four keys at a time, whose codes of a channel are brought side by side.
template <int Bits, int Groups, int Half, int Halves>
TILEWISE_BYTE_PRODUCTS void addByteStrip(const uint8_t* codes, int64_t rowBytes, int n, const int8_t* digits,
                                         const float* units, float* output, BytesToCome& toCome) {
  constexpr int kFields = 8 / Bits;
  static_assert(kDigitBytes == kDecodeKeys);
  __m512i sum[Halves][2][kFields][kDigits];
#pragma GCC unroll 2
  for (int half = 0; half < Halves; ++half)
#pragma GCC unroll 2
    for (int part = 0; part < 2; ++part)
#pragma GCC unroll 4
      for (int f = 0; f < kFields; ++f)
#pragma GCC unroll 3
        for (int digit = 0; digit < kDigits; ++digit) sum[half][part][f][digit] = _mm512_setzero_si512();
  BytesToCome requests = toCome;  // in registers
#pragma GCC unroll 1
  for (int key = 0; key < n; key += 4, codes += 4 * rowBytes) {
    requests.step();
    __m512i weight[kDigits];
#pragma GCC unroll 3
    for (int digit = 0; digit < kDigits; ++digit)
      weight[digit] = lanesOfGroups<Groups>(digits + digit * kDecodeKeys + key, kDigits * kDecodeKeys);
    const __m512i row0 = _mm512_loadu_si512(codes), row1 = _mm512_loadu_si512(codes + rowBytes);
    const __m512i row2 = _mm512_loadu_si512(codes + 2 * rowBytes), row3 = _mm512_loadu_si512(codes + 3 * rowBytes);
#pragma GCC unroll 2
    for (int half = 0; half < Halves; ++half) {
      const bool isLow = Half + half == 0;
      const __m512i a = isLow ? _mm512_unpacklo_epi8(row0, row1) : _mm512_unpackhi_epi8(row0, row1);
      const __m512i b = isLow ? _mm512_unpacklo_epi8(row2, row3) : _mm512_unpackhi_epi8(row2, row3);
#pragma GCC unroll 2
      for (int part = 0; part < 2; ++part) {
        const __m512i fours = part == 0 ? _mm512_unpacklo_epi16(a, b) : _mm512_unpackhi_epi16(a, b);
#pragma GCC unroll 4
        for (int f = 0; f < kFields; ++f) {
          const __m512i of = codeField<Bits>(fours, f);
#pragma GCC unroll 3
          for (int digit = 0; digit < kDigits; ++digit) addProducts(sum[half][part][f][digit], of, weight[digit]);
        }
      }
    }
  }
  toCome = requests;
  const Vec unit = _mm512_castsi512_ps(lanesOfGroups<Groups>(reinterpret_cast<const int8_t*>(units), sizeof(float)));
#pragma GCC unroll 2
  for (int half = 0; half < Halves; ++half)
#pragma GCC unroll 2
    for (int part = 0; part < 2; ++part)
#pragma GCC unroll 4
      for (int f = 0; f < kFields; ++f) {
        float added[kLanes];
        store(added, mul(valueOfDigits(sum[half][part][f]), unit));
        for (int chunk = 0; chunk < 4; ++chunk) {
          float* const to = output + (chunk * kFields + f) * CodeForm::kChunk + (Half + half) * 8 + part * 4;
          _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), _mm_loadu_ps(added + chunk * 4)));
        }
      }
}

template <int Bits, int Groups>
void addByteVector(const uint8_t* codes, int64_t rowBytes, int n, const int8_t* digits, const float* units,
                   float* output, BytesToCome& toCome) {
  if constexpr (Bits == 8) {
    addByteStrip<Bits, Groups, 0, 2>(codes, rowBytes, n, digits, units, output, toCome);
  } else {
    addByteStrip<Bits, Groups, 0, 1>(codes, rowBytes, n, digits, units, output, toCome);
    addByteStrip<Bits, Groups, 1, 1>(codes, rowBytes, n, digits, units, output, toCome);
  }
}

// Adds n values by weights [groups][kDecodeKeys] to the output of a row, if they can be taken so. `room`: of digits.
template <int Bits>
bool addByteValues(const CodedRows& rows, int n, const float* weights, float* output, float* room,
                   BytesToCome& toCome) {
  const CodeForm& form = *rows.form;
  const int groups = form.groupsOfToken(), vectors = form.rowBytes / kDigitBytes;
  const int groupsOfVector = groupsOfBytes(form, 0, kDigitBytes);
  if (!hasByteProducts() || form.rowBytes % kDigitBytes != 0 || n % kLanes != 0) return false;
  if (groupsOfVector != 1 && groupsOfVector != 2 && groupsOfVector != 4) return false;
  for (int vector = 1; vector < vectors; ++vector)
    if (groupsOfBytes(form, vector * kDigitBytes, kDigitBytes) != groupsOfVector) return false;
  float* const units = room;
  int8_t* const digits = reinterpret_cast<int8_t*>(room + groups);
  for (int g = 0; g < groups; ++g) {
    FixedPoint point;
    if (!point.fit(weights + g * kDecodeKeys, n)) return false;
    units[g] = point.unit;
    for (int key = 0; key < n; key += kLanes)
      point.write(weights + g * kDecodeKeys + key, digits + g * (kDigits * kDecodeKeys) + key);
  }
  toCome.spreadOver(n / 4 * vectors * (Bits == 8 ? 1 : 2));
  for (int vector = 0; vector < vectors; ++vector) {
    const int byte = vector * kDigitBytes, channel = byte * (8 / Bits), group = channel / form.group;
    const auto add = groupsOfVector == 1   ? addByteVector<Bits, 1>
                     : groupsOfVector == 2 ? addByteVector<Bits, 2>
                                           : addByteVector<Bits, 4>;
    add(rows.row(0) + byte, form.rowBytes, n, digits + group * (kDigits * kDecodeKeys), units + group, output + channel,
        toCome);
  }
  return true;
}

#else

struct QueryDigits {
  template <int Bits>
  bool set(const CodeForm&, const float*, float*) {
    return false;
  }
  float unit() const { return 0; }
  template <int Bits>
  void products(const uint8_t*, int64_t, BytesToCome&, Vec (&)[kLanes]) const {}
};

template <int Bits>
bool addByteValues(const CodedRows&, int, const float*, float*, float*, BytesToCome&) {
  return false;
}

#endif
