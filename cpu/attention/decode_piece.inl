// Pieces of keys, which decode takes in turn: where their rows are, and how they come from memory in time.
// Included inside a target's anonymous namespace. Reader: decode_loop.inl. Rows are found by a list, so that pages,
// lists of keys and dense rows are read alike, and where they are.

// At most kDecodeKeys keys: a part of a stretch, or short stretches joined. Rows are in elements from a head's first.
struct DecodePiece {
  Stretch stretch;  // of joined ones: places from 0
  uint64_t groups = 0;  // of the task, by bit: those that visit it
  int count = 0;
  Token firstCoded = 0;  // of a piece of consecutive keys, some of which have codes
  bool areKeysCoded = false, areValuesCoded = false;
  int64_t keyAt[kDecodeKeys + kMostAhead];  // and the first keys of the piece to come
  int64_t valueAt[kDecodeKeys];

  // Adds n rows at equal distances.
  void add(int64_t key, int64_t keyStride, int64_t value, int64_t valueStride, int n) {
    for (int i = 0; i < n; ++i) {
      keyAt[count + i] = key + i * keyStride;
      valueAt[count + i] = value + i * valueStride;
    }
    count += n;
  }
  // Appends the first n keys of the next piece, or its last one again, without counting them.
  void lookAhead(const DecodePiece& next, int n) {
    if (areKeysCoded) return;  // they are requested as codes
    for (int i = 0; i < n; ++i)
      keyAt[count + i] = next.areKeysCoded ? keyAt[count - 1] : next.keyAt[smaller(i, next.count - 1)];
  }
};

// Rows of one head that are wanted soon. The processor foresees neither pages nor lists, nor heads side by side.
struct RowsToCome {
  const char* first = nullptr;
  const int64_t* at = nullptr;
  int64_t elementBytes = 0, rowBytes = 0;  // 0: have been requested

  SIMD void request(int key) const {
    if (rowBytes > 0) prefetchRow(first + at[key] * elementBytes, rowBytes);
  }
};
// While a key is read: a key ahead of it, and its value. Requested while values are summed these come too late, since
// that takes a few cycles a row (a GQA 8:1 float16 step spent half its time waiting).
struct Requests {
  RowsToCome keys, values;

  SIMD void at(int key) const {
    keys.request(key);
    values.request(key);
  }
  void end() { keys.rowBytes = values.rowBytes = 0; }
};

struct CodedPiece;  // coded_steps.inl

// Keys or values of a piece for one head: row i is at data + at[i].
struct DecodeOperand {
  const void* data;
  DType type;
  const int64_t* at;
  CodedPiece* codes = nullptr;  // in place of these
};
struct RowsToStage {
  const int64_t* at;
  int count;
  float* buffer;  // [count][paddedDim]
  const int64_t* bufferAt;
};
// In place where rows can be read as vectors, else converted to contiguous float32.
DecodeOperand stageOperand(const Operand& operand, DType type, int64_t first, int dim, const RowsToStage& rows,
                           Requests& requests) {
  const bool isRead = operand.dim == 1 && dim % kLanes == 0;
  if (isRead) return {elementAt(operand.data, type, first), type, rows.at};
  const int ld = paddedDim(dim);
  for (int i = 0; i < rows.count; ++i) {
    requests.at(i);
    float* to = rows.buffer + i * ld;
    for (int d = dim; d < ld; ++d) to[d] = 0;
    readRow(elementAt(operand.data, type, first + rows.at[i]), type, operand.dim, dim, to);
  }
  requests.end();
  return {rows.buffer, DType::float32, rows.bufferAt};
}
