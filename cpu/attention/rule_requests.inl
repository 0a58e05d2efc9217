// What the score rules read, requested ahead: the rows of a bias are pages apart, which the processor does not foresee.
// Included inside a target's anonymous namespace. Reader: someone who follows a bias or a mask into the fused loop.

// Keys whose scores are computed between two requests: whole register tiles. Not measured.
constexpr int kRequestKeys = (kPanel < 32 ? 2 : 1) * kTileRows;

constexpr int kRequestLine = 64;  // bytes

// What the rules read of a run of keys for rows of queries, to be requested a few lines at a time.
template <int Width>
class RuleRequests {
 public:
  template <class Rows>
  RuleRequests(const ScoreRules& rules, const Rows& rows, const KeyRun& keys) {
    rows.rules.forEach(rules, [&](const auto& rule, const auto& row) {
      if constexpr (hasVisibleEffect<std::decay_t<decltype(rule)>>()) {
        int64_t first[Width];
        if (findValues(rule, row, keys, first) != 1 || count_ + Width > kMostParts) return;
        rule.withReader([&](const auto& read) {
          const int lines = ceilDiv<int>(keys.places.size() * int(sizeof read.data[0]), kRequestLine);
          for (int r = 0; r < Width; ++r) {
            if (r > 0 && first[r] == first[r - 1]) continue;
            // The run before has requested a line that goes on.
            parts_[count_++] = {reinterpret_cast<const char*>(read.data + first[r]) + kRequestLine - 1, lines};
            lines_ += lines;
          }
        });
      }
    });
  }

  int lines() const { return lines_; }

  // Out of line, see RowPrefetch. It changes the object: GCC takes out calls of functions that do nothing but prefetch.
  __attribute__((noinline)) void step(int lines) {
    for (; lines > 0 && at_ < count_; --lines) {
      Part& part = parts_[at_];
      __builtin_prefetch(part.next, 0, 2);
      part.next += kRequestLine;
      if (--part.lines == 0) ++at_;
    }
  }

 private:
  static constexpr int kMostParts = 2 * Width;
  struct Part {
    const char* next;
    int lines;
  };
  Part parts_[kMostParts];  // of two rules; a third is not requested
  int count_ = 0, at_ = 0, lines_ = 0;
};
