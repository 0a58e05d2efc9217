// Statements of a kernel: registers, labels, source lines, instructions.
#include "parser.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "../access.h"
#include "special_registers.h"

namespace tilewise::ptx {
namespace {

struct Register {
  Width width;
  int32_t index;
};

class Parser {
 public:
  Parser(const Source& source, Cursor cursor) : source_(source), cursor_(cursor) {}

  Body parse() {
    readParameters();
    readAttributes();
    while (!scopes_.empty()) readStatement();
    return std::move(body_);
  }

 private:
  // (.param .align 8 .b8 name[2944], .param .u64 name)
  void readParameters() {
    uint32_t end = 0;
    cursor_.expect("(");
    while (!cursor_.takeIf(")")) {
      cursor_.expect(".param");
      const bool isArray = cursor_.takeIf(".align");
      uint32_t align = isArray ? uint32_t(cursor_.takeNumber()) : 0;
      const std::string_view type = cursor_.take(), name = cursor_.take();
      uint32_t bytes = bytesOf(type);
      if (isArray) {
        cursor_.expect("[");
        bytes *= uint32_t(cursor_.takeNumber());
        cursor_.expect("]");
      } else {
        align = bytes;
      }
      end = (end + align - 1) / align * align;
      symbols_[name] = kParamWindow + end;
      body_.declaration.params.push_back({end, bytes});
      end += bytes;
      cursor_.takeIf(",");
    }
    body_.declaration.paramBytes = end;
    for (const std::string_view array : source_.sharedArrays) symbols_[array] = emulator::kSharedBase;
  }

  // .maxntid 128, 1, 1
  void readAttributes() {
    while (!cursor_.takeIf("{")) {
      const std::string_view attribute = cursor_.take();
      if (attribute != ".maxntid" && attribute != ".minnctapersm" && attribute != ".reqntid") {
        cursor_.fail("'" + std::string(attribute) + "' is not known here");
      }
      uint64_t threads = cursor_.takeNumber();
      while (cursor_.takeIf(",")) threads *= cursor_.takeNumber();
      if (attribute != ".minnctapersm") body_.declaration.threads = uint32_t(threads);
    }
    scopes_.emplace_back();
  }

  void readStatement() {
    const std::string_view token = cursor_.take();
    if (token.empty()) cursor_.fail("the end of the text inside a kernel");
    if (token == "{") {
      scopes_.emplace_back();
    } else if (token == "}") {
      scopes_.pop_back();
    } else if (token == ".reg") {
      readRegisters();
    } else if (token == ".loc") {
      readPlace();
    } else if (token == ".pragma") {  // "nounroll"
      cursor_.takeString();
      cursor_.expect(";");
    } else if (token[0] == '.') {
      cursor_.fail("'" + std::string(token) + "' is not known inside kernels");
    } else if (cursor_.takeIf(":")) {
      if (!body_.labels.emplace(token, int32_t(body_.statements.size())).second) {
        cursor_.fail("two labels " + std::string(token));
      }
    } else {
      readInstruction(token);
    }
  }

  // .reg .b32 %r<98>;  .reg .pred p, q;
  void readRegisters() {
    const std::string_view type = cursor_.take();
    const Width width = type == ".pred" ? Width::predicate : widthOf(bytesOf(type));
    do {
      const std::string_view name = cursor_.take();
      if (!cursor_.takeIf("<")) {
        declare(std::string(name), width);
        continue;
      }
      const uint64_t count = cursor_.takeNumber();
      cursor_.expect(">");
      for (uint64_t i = 0; i < count; ++i) declare(std::string(name) + std::to_string(i), width);
    } while (cursor_.takeIf(","));
    cursor_.expect(";");
  }
  void declare(const std::string& name, Width width) {
    scopes_.back()[name] = {width, int32_t(body_.registers.size())};
    body_.registers.push_back(width);
  }

  // .loc file line column, function_name name, inlined_at file line column
  void readPlace() {
    using Key = std::array<uint32_t, 3>;
    const auto readKey = [&] {
      Key key;
      for (uint32_t& number : key) number = uint32_t(cursor_.takeNumber());
      return key;
    };
    const Key key = readKey();
    int32_t inlinedAt = -1;
    if (cursor_.takeIf(",")) {
      cursor_.expect("function_name");
      cursor_.take();
      if (cursor_.takeIf("+")) cursor_.takeNumber();
      cursor_.expect(",");
      cursor_.expect("inlined_at");
      // The place that was said last, which says in turn where it was inlined.
      const auto outer = places_.find(readKey());
      if (outer != places_.end()) inlinedAt = outer->second;
    }
    const auto file = source_.files.find(key[0]);
    body_.places.push_back({file == source_.files.end() ? "?" : file->second, key[1], inlinedAt});
    place_ = places_[key] = int32_t(body_.places.size()) - 1;
  }

  void readInstruction(std::string_view token) {
    Statement statement;
    statement.isInline = cursor_.isInline();
    statement.place = place_;
    if (token == "@") {
      statement.isNegated = cursor_.takeIf("!");
      const Register guard = registerOf(cursor_.take());
      if (guard.width != Width::predicate) cursor_.fail("the guard is no predicate");
      statement.guard = guard.index;
      token = cursor_.take();
    }
    statement.opcode = token;
    statement.line = cursor_.line();
    while (!cursor_.takeIf(";")) readOperand(statement);
    body_.statements.push_back(std::move(statement));
  }

  // One operand, or a character between them.
  void readOperand(Statement& statement) {
    const std::string_view token = cursor_.take();
    if (token.empty()) cursor_.fail("an instruction without end");
    if (token == "[") {
      statement.frame += "[_";
      statement.operands.push_back(readAddress());
    } else if (token == "]" || token == "{" || token == "}" || token == "," || token == "|") {
      statement.frame += token;
    } else {
      statement.frame += '_';
      statement.operands.push_back(operandOf(token));
    }
  }

  // %rd2+-16
  Operand readAddress() {
    Operand address = operandOf(cursor_.take());
    if (address.kind != Operand::Kind::reg && address.kind != Operand::Kind::number) cursor_.fail("no address");
    address.kind = Operand::Kind::address;
    if (cursor_.takeIf("+")) address.bits += cursor_.takeNumber();
    return address;
  }

  Operand operandOf(std::string_view token) {
    Operand operand;
    operand.text = token;
    const int32_t special = specialRegister(token);
    if (isNumber(token)) {
      operand.bits = numberOf(token, cursor_);
    } else if (special >= 0) {
      operand.kind = Operand::Kind::special;
      operand.bits = uint64_t(special);
    } else if (const Register* known = find(token)) {
      operand.kind = Operand::Kind::reg;
      operand.width = known->width;
      operand.reg = known->index;
    } else if (const auto symbol = symbols_.find(token); symbol != symbols_.end()) {
      operand.bits = symbol->second;
    } else if (token[0] == '%') {
      cursor_.fail("'" + std::string(token) + "' is no register that is known");
    } else {
      operand.kind = Operand::Kind::label;
    }
    return operand;
  }

  const Register* find(std::string_view name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->find(name);
      if (found != scope->end()) return &found->second;
    }
    return nullptr;
  }
  Register registerOf(std::string_view name) const {
    const Register* found = find(name);
    if (found == nullptr) cursor_.fail("'" + std::string(name) + "' is no register that is known");
    return *found;
  }

  uint32_t bytesOf(std::string_view type) const {
    static constexpr std::string_view kinds = "busf";
    const std::string_view bits = type.size() > 2 ? type.substr(2) : "";
    const bool isType = type[0] == '.' && kinds.find(type[1]) != std::string_view::npos;
    for (const auto& [text, bytes] : {std::pair("8", 1u), {"16", 2u}, {"32", 4u}, {"64", 8u}}) {
      if (isType && bits == text) return bytes;
    }
    cursor_.fail("the type " + std::string(type) + " is not known");
  }
  Width widthOf(uint32_t bytes) const {
    if (bytes == 1) cursor_.fail("registers of 8 bits are not known");
    return bytes == 2 ? Width::b16 : bytes == 4 ? Width::b32 : Width::b64;
  }

  const Source& source_;
  Cursor cursor_;
  Body body_;
  std::vector<std::map<std::string, Register, std::less<>>> scopes_;
  std::map<std::string_view, uint64_t> symbols_;
  std::map<std::array<uint32_t, 3>, int32_t> places_;
  int32_t place_ = -1;
};

}  // namespace

Body parse(const Source& source, Cursor cursor) { return Parser(source, cursor).parse(); }

std::unique_ptr<Kernel> readKernel(const Source& source, const std::string& name, Cursor cursor) {
  std::unique_ptr<Kernel> kernel = assemble(parse(source, cursor));
  kernel->name = name;
  if (reachedFile() != nullptr) kernel->isReached = std::make_unique<std::atomic<bool>[]>(kernel->code.size());
  findJoins(kernel->code);
  return kernel;
}

}  // namespace tilewise::ptx
