// Statements to instructions: the form of each opcode, and slots in the register file.
#include <algorithm>

#include "../emulator.h"
#include "opcodes.h"
#include "parser.h"

namespace tilewise::ptx {
namespace {

[[noreturn]] void failAt(const Statement& statement, const std::string& what) {
  throw emulator::Error("line " + std::to_string(statement.line) + " of the PTX: " + std::string(statement.opcode) +
                        ": " + what);
}

Width widthOf(char type) {
  return type == 'p' ? Width::predicate : type == 'h' ? Width::b16 : type == 'w' ? Width::b32 : Width::b64;
}

bool accepts(const Accepted& accepted, const Operand& operand) {
  using Kind = Operand::Kind;
  const bool isRegister = operand.kind == Kind::reg && operand.width == widthOf(accepted.type);
  switch (accepted.type) {
    case '#': return operand.kind == Kind::number && operand.bits == accepted.number;
    case 'i': return operand.kind == Kind::number;
    case 's': return operand.kind == Kind::special;
    case 'L': return operand.kind == Kind::label;
    case '_': return operand.text == "_";
    default: break;
  }
  if (accepted.isAddress) {
    return operand.kind == Kind::address && (operand.reg < 0 || operand.width == widthOf(accepted.type));
  }
  return isRegister || (!accepted.isResult && operand.kind == Kind::number);
}

const Form& formOf(const Statement& statement) {
  const std::vector<Form>& forms = formsOf(statement.opcode);
  if (forms.empty()) failAt(statement, "is not known");
  for (const Form& form : forms) {
    if (form.frame != statement.frame) continue;
    bool isOk = true;
    for (size_t i = 0; isOk && i < form.accepted.size(); ++i) isOk = accepts(form.accepted[i], statement.operands[i]);
    if (isOk) return form;
  }
  std::string operands;
  for (const Operand& operand : statement.operands) operands += " " + std::string(operand.text);
  failAt(statement, "is not known with these operands:" + operands);
}

// Slots are handed out when all constants are known, which come first; until then they are numbers of registers, and of
// constants.
class Assembler {
 public:
  explicit Assembler(const Body& body) : body_(body), isWritten_(body.registers.size()) {}

  std::unique_ptr<Kernel> assemble() {
    for (const Statement& statement : body_.statements) addInstruction(statement);
    requireWritten();
    requireEnd();
    kernel_->declaration = body_.declaration;
    kernel_->places = body_.places;
    layOut();
    return std::move(kernel_);
  }

 private:
  struct Use {
    bool isConstant;
    uint32_t index;
    const Statement* statement;  // that reads it; null for a result
  };

  void addInstruction(const Statement& statement) {
    const Form& form = formOf(statement);
    Instruction in;
    in.opcode = form.opcode;
    in.run = form.opcode->run;
    in.kind = form.opcode->kind;
    in.line = statement.line;
    in.place = statement.place;
    in.isInline = statement.isInline;
    in.isNegated = statement.isNegated;
    in.guard = statement.guard;
    firstUse_.push_back(uses_.size());
    if (statement.guard >= 0) reads_.push_back({false, uint32_t(statement.guard), &statement});
    int immediates = 0;
    for (size_t i = 0; i < form.accepted.size(); ++i) {
      addOperand(statement, form.accepted[i], statement.operands[i], in, immediates);
    }
    in.slotCount = uint8_t(uses_.size() - firstUse_.back());
    kernel_->leavesBusy = kernel_->leavesBusy || form.opcode->leavesBusy;
    kernel_->code.push_back(in);
  }

  void addOperand(const Statement& statement, const Accepted& accepted, const Operand& operand, Instruction& in,
                  int& immediates) {
    switch (accepted.type) {
      case '#':
      case '_': return;
      case 'L': in.target = targetOf(statement, operand.text); return;
      case 'i':
      case 's': in.immediates[immediates++] = int64_t(operand.bits); return;
      default: break;
    }
    if (accepted.isAddress) in.immediates[immediates++] = int64_t(operand.bits);
    if (operand.reg < 0) {
      addConstant(widthOf(accepted.type), accepted.isAddress ? 0 : operand.bits);
    } else if (accepted.isResult) {
      isWritten_[size_t(operand.reg)] = true;
      uses_.push_back({false, uint32_t(operand.reg), nullptr});
    } else {
      uses_.push_back({false, uint32_t(operand.reg), &statement});
      reads_.push_back(uses_.back());
    }
  }

  void addConstant(Width width, uint64_t bits) {
    if (width == Width::predicate && bits != 0) bits = kAllLanes;
    if (width == Width::b16) bits &= 0xffff;
    if (width == Width::b32) bits &= 0xffffffff;
    const auto [found, isNew] = constants_.emplace(std::make_pair(width, bits), uint32_t(kernel_->constants.size()));
    if (isNew) kernel_->constants.push_back({width, bits, 0});
    uses_.push_back({true, found->second, nullptr});
  }

  int32_t targetOf(const Statement& statement, std::string_view label) const {
    const auto found = body_.labels.find(label);
    if (found == body_.labels.end()) failAt(statement, "there is no label " + std::string(label));
    if (size_t(found->second) >= body_.statements.size()) failAt(statement, "jumps past the end");
    return found->second;
  }

  // Whatever the flow: a register that is read and that no instruction writes.
  void requireWritten() const {
    for (const Use& read : reads_) {
      if (!isWritten_[read.index]) failAt(*read.statement, "reads a register that nothing writes");
    }
  }
  void requireEnd() const {
    if (body_.statements.empty()) throw emulator::Error("a kernel without instructions");
    const Instruction& last = kernel_->code.back();
    const bool leaves = last.guard < 0 && (last.kind == Kind::exit || last.kind == Kind::branch);
    if (!leaves) failAt(body_.statements.back(), "is the last instruction and does not leave the kernel");
  }

  void layOut() {
    uint32_t end = 0;
    const auto place = [&](Width width) {
      const uint32_t bytes = kSlotBytes[int(width)];
      end = (end + std::min(bytes, 64u) - 1) / std::min(bytes, 64u) * std::min(bytes, 64u);
      const uint32_t slot = end;
      end += bytes;
      return slot;
    };
    for (Constant& constant : kernel_->constants) constant.slot = place(constant.width);
    kernel_->firstRegister = end;
    std::vector<uint32_t> slots(body_.registers.size());
    for (size_t i = 0; i < slots.size(); ++i) slots[i] = place(body_.registers[i]);
    kernel_->fileBytes = (end + 63) / 64 * 64;
    for (const Use& use : uses_) {
      kernel_->slots.push_back(use.isConstant ? kernel_->constants[use.index].slot : slots[use.index]);
    }
    for (size_t i = 0; i < kernel_->code.size(); ++i) {
      Instruction& in = kernel_->code[i];
      in.slots = kernel_->slots.data() + firstUse_[i];
      if (in.guard >= 0) in.guard = int32_t(slots[size_t(in.guard)]);
    }
  }

  const Body& body_;
  std::unique_ptr<Kernel> kernel_ = std::make_unique<Kernel>();
  std::vector<Use> uses_, reads_;
  std::vector<size_t> firstUse_;  // of each instruction
  std::vector<bool> isWritten_;
  std::map<std::pair<Width, uint64_t>, uint32_t> constants_;
};

}  // namespace

std::unique_ptr<Kernel> assemble(const Body& body) { return Assembler(body).assemble(); }

}  // namespace tilewise::ptx
