// A place in PTX text, from which it is read token by token.
// Reader: source.cc, parser.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tilewise::ptx {

class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  // A name, number, opcode or directive as a whole, or one character; empty at the end.
  std::string_view take();
  std::string_view peek() const { return Cursor(*this).take(); }
  bool takeIf(std::string_view token);
  void expect(std::string_view token);
  uint64_t takeNumber();
  std::string_view takeString();  // between quotation marks

  void skipLine();
  // From before an opening brace to behind the one that closes it.
  void skipBraces();

  uint32_t line() const { return line_; }  // of the token before
  bool isInline() const { return isInline_; }

  [[noreturn]] void fail(const std::string& what) const;

 private:
  void skipBlank();

  std::string_view text_;
  size_t at_ = 0;
  uint32_t line_ = 1;      // at `at_`
  bool isInline_ = false;  // between nvcc's comments around an asm statement
};

// -1, 0x1F, or the bits of 0f3F800000; fails elsewhere.
uint64_t numberOf(std::string_view token, const Cursor& cursor);
bool isNumber(std::string_view token);

}  // namespace tilewise::ptx
