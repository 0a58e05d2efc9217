// The rows of all families by opcode, their operands taken apart once.
#include <cctype>
#include <cstdlib>
#include <unordered_map>

#include "opcodes.h"

namespace tilewise::ptx {
namespace {

Form formOf(const Opcode& opcode) {
  Form form{&opcode, "", {}};
  bool isResult = std::string_view(opcode.operands).find('=') != std::string_view::npos;
  bool isAddress = false, isGroup = false;
  for (const char* at = opcode.operands; *at != '\0'; ++at) {
    const char c = *at;
    if (c == ' ') continue;
    if (c == '=') isResult = false;
    isAddress = c == '[' || (isAddress && c != ']' && c != ',');
    isGroup = c == '{' || (isGroup && c != '}');
    const bool isDigit = std::isdigit(uint8_t(c));
    if (!std::isalpha(uint8_t(c)) && !isDigit && c != '_') {
      form.frame += c == '=' ? ',' : c;
      continue;
    }
    char* end = const_cast<char*>(at) + 1;
    const uint64_t number = isDigit ? std::strtoull(at, &end, 10) : 0;
    const uint64_t count = *end == '*' ? std::strtoull(end + 1, &end, 10) : 1;
    for (uint64_t i = 0; i < count; ++i) {
      // Between the letters of a group stand commas.
      if (isGroup && form.frame.back() == '_') form.frame += ',';
      form.frame += '_';
      form.accepted.push_back({isDigit ? '#' : c, isResult, isAddress, number});
    }
    at = end - 1;
  }
  return form;
}

struct Table {
  Table() {
    for (const auto family : {integerOpcodes, bitOpcodes, floatOpcodes, comparisonOpcodes, conversionOpcodes,
                              moveOpcodes, memoryOpcodes, asyncCopyOpcodes, mbarrierOpcodes, bulkCopyOpcodes,
                              warpOpcodes, matrixOpcodes, warpgroupOpcodes, controlOpcodes}) {
      const Opcodes rows = family();
      opcodes.insert(opcodes.end(), rows.begin(), rows.end());
    }
    for (const Opcode& opcode : opcodes) forms[opcode.name].push_back(formOf(opcode));
  }
  Opcodes opcodes;
  std::unordered_map<std::string_view, std::vector<Form>> forms;
};

const Table& table() {
  static const Table known;
  return known;
}

}  // namespace

const std::vector<Form>& formsOf(std::string_view opcode) {
  static const std::vector<Form> none;
  const auto found = table().forms.find(opcode);
  return found == table().forms.end() ? none : found->second;
}

std::vector<KnownOpcode> knownOpcodes() {
  std::vector<KnownOpcode> known;
  for (const Opcode& opcode : table().opcodes) known.push_back({opcode.name, opcode.operands});
  return known;
}

}  // namespace tilewise::ptx
