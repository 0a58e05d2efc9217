// Tokens of PTX.
#include "cursor.h"

#include <cctype>
#include <cstdlib>

#include "../emulator.h"

namespace tilewise::ptx {
namespace {

bool isWord(char c) { return std::isalnum(uint8_t(c)) || c == '_' || c == '$' || c == '%' || c == '.'; }
bool isDigit(char c) { return std::isdigit(uint8_t(c)); }

}  // namespace

void Cursor::fail(const std::string& what) const {
  throw emulator::Error("line " + std::to_string(line_) + " of the PTX: " + what);
}

void Cursor::skipBlank() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (std::isspace(uint8_t(c))) {
      line_ += c == '\n';
      ++at_;
    } else if (text_.compare(at_, 2, "//") == 0) {
      const size_t end = std::min(text_.find('\n', at_), text_.size());
      const std::string_view comment = text_.substr(at_, end - at_);
      if (comment == "// begin inline asm") isInline_ = true;
      if (comment == "// end inline asm") isInline_ = false;
      at_ = end;
    } else {
      return;
    }
  }
}

std::string_view Cursor::take() {
  skipBlank();
  const size_t start = at_;
  if (at_ == text_.size()) return {};
  const bool isNegative = text_[at_] == '-' && at_ + 1 < text_.size() && isDigit(text_[at_ + 1]);
  if (!isNegative && !isWord(text_[at_])) return text_.substr(at_++, 1);
  ++at_;
  for (;; ++at_) {
    if (text_.compare(at_, 2, "::") == 0)
      ++at_;  // shared::cta
    else if (at_ >= text_.size() || !isWord(text_[at_]))
      break;
  }
  return text_.substr(start, at_ - start);
}

bool Cursor::takeIf(std::string_view token) {
  Cursor next = *this;
  if (next.take() != token) return false;
  *this = next;
  return true;
}

void Cursor::expect(std::string_view token) {
  const std::string_view found = take();
  if (found != token) fail("'" + std::string(token) + "' was expected, not '" + std::string(found) + "'");
}

uint64_t Cursor::takeNumber() {
  const std::string_view token = take();
  return numberOf(token, *this);
}

std::string_view Cursor::takeString() {
  expect("\"");
  const size_t end = text_.find('"', at_);
  if (end == std::string_view::npos) fail("a string without end");
  const std::string_view inside = text_.substr(at_, end - at_);
  at_ = end + 1;
  return inside;
}

void Cursor::skipLine() { at_ = std::min(text_.find('\n', at_), text_.size()); }

void Cursor::skipBraces() {
  expect("{");
  for (int depth = 1; depth > 0; ++at_) {
    skipBlank();
    if (at_ == text_.size()) fail("a brace without end");
    depth += text_[at_] == '{';
    depth -= text_[at_] == '}';
  }
}

bool isNumber(std::string_view token) {
  return !token.empty() && (isDigit(token[0]) || (token[0] == '-' && token.size() > 1));
}

uint64_t numberOf(std::string_view token, const Cursor& cursor) {
  if (!isNumber(token)) cursor.fail("a number was expected, not '" + std::string(token) + "'");
  const std::string text(token);
  const bool isFloat = text.size() == 10 && (text.compare(0, 2, "0f") == 0 || text.compare(0, 2, "0F") == 0);
  char* end = nullptr;
  const uint64_t bits = isFloat          ? std::strtoull(text.c_str() + 2, &end, 16)
                        : text[0] == '-' ? uint64_t(std::strtoll(text.c_str(), &end, 0))
                                         : std::strtoull(text.c_str(), &end, 0);
  if (*end != '\0') cursor.fail("the number " + text + " is not known in this form");
  return bits;
}

}  // namespace tilewise::ptx
