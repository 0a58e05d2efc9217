// Rows of codes as floats: a vector of codes, a row, and the rows of a run some of which are exact.
// Included inside a target's anonymous namespace. Reader: someone who follows quantised keys (core/store/coded_keys.h)
// into the loops; coded_steps.inl multiplies codes without writing them out.

// Calls f(the number of bits) as a constant.
template <class F>
SIMD void withCodeBits(int bits, F&& f) {
  switch (bits) {
    case 8: return f(std::integral_constant<int, 8>{});
    case 4: return f(std::integral_constant<int, 4>{});
    default: return f(std::integral_constant<int, 2>{});
  }
}

// Whether rows are whole chunks, and vectors of them have one scale: then vectors can be read where they are.
bool areVectorCodes(const CodeForm& form) {
  return form.channels == form.dim && (form.axis == CodeAxis::channel || form.group % CodeForm::kChunk == 0);
}

// How many groups the values of so many bytes of a row have: one, or some of whole chunks; else 0.
int groupsOfBytes(const CodeForm& form, int byte, int bytes) {
  if (byte + bytes > form.rowBytes) return 0;
  const int channels = CodeForm::kChunk * form.fields();
  const int begin = byte / CodeForm::kChunk * channels, end = ceilDiv(byte + bytes, int(CodeForm::kChunk)) * channels;
  if (begin / form.group == (end - 1) / form.group) return 1;
  const bool areChunks = byte % CodeForm::kChunk == 0 && bytes % CodeForm::kChunk == 0 && form.group % channels == 0;
  return areChunks && begin % form.group == 0 && end % form.group == 0 ? (end - begin) / form.group : 0;
}

// Calls f(byte of the row, its first channel) for each vector of bytes of a row; field i has the channels from
// i * kChunk on.
template <int Bits, class F>
SIMD void forEachCodeVector(int rowBytes, F&& f) {
  constexpr int kFields = 8 / Bits;
#pragma GCC unroll 1
  for (int chunk = 0; chunk < rowBytes; chunk += CodeForm::kChunk) {
    for (int byte = 0; byte < CodeForm::kChunk; byte += kLanes) f(chunk + byte, chunk * kFields + byte);
  }
}

// Row i as floats, followed by zeros up to paddedDim.
void readCodedRow(const CodedRows& rows, Token i, float* to) {
  const CodeForm& form = *rows.form;
  const uint8_t* const codes = rows.row(i);
  const bool isChannel = form.axis == CodeAxis::channel;
  if (!areVectorCodes(form)) {
    const int mask = (1 << form.bits) - 1;
    for (int d = 0; d < paddedDim(form.dim); ++d) {
      const int code = d < form.dim ? codes[form.byteOf(d)] >> form.bitOf(d) & mask : 0;
      const int64_t at = rows.scaleAt(i, smaller(d, form.dim - 1));
      to[d] = d < form.dim ? float(code) * rows.scales[at] + rows.mins[at] : 0;
    }
    return;
  }
  withCodeBits(form.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    forEachCodeVector<kBits>(form.rowBytes, [&](int byte, int channel) {
#pragma GCC unroll 4
      for (int f = 0; f < 8 / kBits; ++f) {
        const int d = channel + f * CodeForm::kChunk;
        const float *const scales = rows.scales + rows.scaleAt(i, d), *const mins = rows.mins + rows.scaleAt(i, d);
        const Vec scale = isChannel ? load(scales) : splat(*scales), min = isChannel ? load(mins) : splat(*mins);
        store(to + d, mulAdd(loadCodes<kBits>(codes + byte, f), scale, min));
      }
    });
  });
}

// The rows of a run of keys of one head to rows of paddedDim(dim) floats: those that have codes, and the others.
void readStoredRows(const AttentionProblem& p, bool areKeys, int64_t keyBatch, int32_t kvHead, const KeyRun& run,
                    float* to) {
  const CodedKeys& codes = *p.store.codes;
  const Operand& operand = areKeys ? p.key : p.value;
  const int dim = areKeys ? p.headDim : p.valueDim, ld = paddedDim(dim);
  const StoredRows exact = p.store.rowsOf(operand, keyBatch, 0, kvHead);
  for (Token place = run.places.begin; place < run.places.end; ++place, to += ld) {
    const Token token = run.token(place);
    if (codes.has(areKeys, keyBatch, token)) {
      readCodedRow(codes.rows(areKeys, keyBatch, kvHead, token), 0, to);
    } else {
      readRow(elementAt(operand.data, p.keyType, exact.at(token)), p.keyType, operand.dim, dim, to);
    }
  }
}

// Bytes that are wanted soon: the codes of some rows, then their scales and minima. They are requested a few lines at
// a time while other rows are read, as many in each of so many steps.
class BytesToCome {
 public:
  BytesToCome() = default;
  // Rows [0, n); the scales of a block come with its first row.
  BytesToCome(const CodedRows& rows, int n) : at_(rows.row(0)), end_(rows.row(n)) {
    if (rows.first > 0) return;
    scales_ = reinterpret_cast<const uint8_t*>(rows.scales);
    scalesEnd_ = scales_ + (rows.form->bytes - rows.form->scalesAt);
  }

  void spreadOver(int steps) {
    perStep_ = ceilDiv<int64_t>(ceilDiv<int64_t>((end_ - at_) + (scalesEnd_ - scales_), kLine), steps);
  }
  SIMD void step() {
    for (int64_t i = 0; i < perStep_; ++i, at_ += kLine) {
      if (at_ >= end_) {
        if (scales_ == scalesEnd_) return;
        at_ = scales_;
        end_ = scales_ = scalesEnd_;
      }
      __builtin_prefetch(at_);
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  const uint8_t *at_ = nullptr, *end_ = nullptr, *scales_ = nullptr, *scalesEnd_ = nullptr;
  int64_t perStep_ = 0;
};

// Keys or values of a piece that have codes, and what is requested while they are read.
struct CodedPiece {
  CodedRows rows;
  BytesToCome toCome;
};
