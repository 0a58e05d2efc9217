// Builds and runs the kernel around a line.
#include "line.h"

#include <cctype>
#include <cstring>
#include <set>

#include "../../../../emulator/global_memory.h"
#include "../../../../emulator/ptx/ptx.h"
#include "../../check.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kSlot = 8;  // bytes of an operand or result in memory

std::set<std::string>& testedForms() {
  static std::set<std::string> forms;
  return forms;
}
std::set<std::string>& testedOpcodes() {
  static std::set<std::string> opcodes;
  return opcodes;
}

std::string number(uint64_t n) { return std::to_string(n); }
std::string typeOf(char kind) {
  switch (kind) {
    case 'p': return ".pred";
    case 'h': return ".b16";
    case 'l':
    case 'g':
    case 'm': return ".b64";
    default: return ".b32";
  }
}

std::string loadOperand(char kind, size_t i) {
  const std::string name = "%a" + number(i), from = ", [%in+" + number(i * kSlot) + "];\n";
  switch (kind) {
    case 'p': return "ld.global.u32 %word" + from + "setp.ne.s32 " + name + ", %word, 0;\n";
    case 'h': return "ld.global.u16 " + name + from;
    case 'w': return "ld.global.u32 " + name + from;
    case 's': return "ld.global.u32 " + name + from + "add.s32 " + name + ", " + name + ", %shared;\n";
    case 'g': return "ld.global.u64 " + name + from + "add.s64 " + name + ", " + name + ", %global;\n";
    case 'm': return "ld.global.u64 " + name + from + "add.s64 " + name + ", " + name + ", %map;\n";
    default: return "ld.global.u64 " + name + from;
  }
}

std::string storeResult(char kind, size_t i) {
  const std::string name = "%d" + number(i), to = "[%out+" + number(i * kSlot) + "], ";
  switch (kind) {
    case 'p': return "selp.u32 %word, 1, 0, " + name + ";\nst.global.u32 " + to + "%word;\n";
    case 'h': return "st.global.u16 " + to + name + ";\n";
    case 'w': return "st.global.u32 " + to + name + ";\n";
    default:
      return "st.global.u32 " + to + name + ";\nshr.u64 %upper, " + name + ", 32;\nst.global.u32 [%out+" +
             number(i * kSlot + 4) + "], %upper;\n";
  }
}

// Copies all words of shared memory from the image, or back: a thread each of as many as there are threads.
std::string copyShared(const Line& line, bool isBack) {
  if (line.shared.empty()) return "";
  std::string text = "bar.sync 0;\n";
  const size_t step = size_t(line.threads) * 4;
  for (size_t at = 0; at < line.shared.size(); at += step) {
    const std::string offset = "+" + number(at) + "]";
    text += isBack ? "ld.shared.b32 %word, [%word0" + offset + ";\nst.global.u32 [%image" + offset + ", %word;\n"
                   : "ld.global.u32 %word, [%image" + offset + ";\nst.shared.b32 [%word0" + offset + ", %word;\n";
  }
  return text + (isBack ? "" : "bar.sync 0;\n");
}

std::string kernelOf(const Line& line) {
  std::string text = R"(.version 9.0
.target sm_80
.address_size 64
.extern .shared .align 1024 .b8 sharedBytes[];
.visible .entry kernel(.param .u64 in, .param .u64 out, .param .u64 global, .param .u64 image, .param .align 16 .b8 )";
  text += std::string(kParameters) + "[" + number(kParameterBytes) + "], .param .align 64 .b8 map[128])\n{\n";
  text +=
      ".reg .b64 %in, %out, %global, %image, %map, %offset, %upper; .reg .b32 %thread, %block, %threads, %word, "
      "%word0, "
      "%shared;\n";
  for (size_t i = 0; i < line.sources.size(); ++i)
    text += ".reg " + typeOf(line.sources[i]) + " %a" + number(i) + ";\n";
  for (size_t i = 0; i < line.results.size(); ++i)
    text += ".reg " + typeOf(line.results[i]) + " %d" + number(i) + ";\n";
  text += R"(ld.param.u64 %in, [in];
ld.param.u64 %out, [out];
ld.param.u64 %global, [global];
ld.param.u64 %image, [image];
mov.b64 %map, map;
cvta.param.u64 %map, %map;
mov.u32 %shared, sharedBytes;
mov.u32 %thread, %tid.x;
shl.b32 %word0, %thread, 2;
cvt.u64.u32 %offset, %word0;
add.s64 %image, %image, %offset;
add.s32 %word0, %word0, %shared;
mov.u32 %block, %ctaid.x;
mov.u32 %threads, %ntid.x;
mad.lo.s32 %thread, %block, %threads, %thread;
)";
  text += "mul.wide.u32 %offset, %thread, " + number(line.sources.size() * kSlot) + ";\nadd.s64 %in, %in, %offset;\n";
  text += "mul.wide.u32 %offset, %thread, " + number(line.results.size() * kSlot) + ";\nadd.s64 %out, %out, %offset;\n";
  for (size_t i = 0; i < line.sources.size(); ++i) text += loadOperand(line.sources[i], i);
  text += copyShared(line, false) + line.text + "\n" + copyShared(line, true);
  for (size_t i = 0; i < line.results.size(); ++i) text += storeResult(line.results[i], i);
  return text + "ret;\n}\n";
}

template <class T>
T* copyOf(emulator::Memory& memory, const std::vector<T>& data) {
  auto* copy = static_cast<T*>(memory.allocate(int64_t(std::max<size_t>(data.size() * sizeof(T), 4))));
  if (!data.empty()) std::memcpy(copy, data.data(), data.size() * sizeof(T));
  return copy;
}

// "w*3" is "www".
std::string spelledOut(const std::string& form) {
  std::string text;
  for (size_t i = 0; i < form.size(); ++i) {
    if (form[i] != '*') {
      text += form[i];
      continue;
    }
    size_t digits = 0;
    text.append(std::stoul(form.substr(i + 1), &digits) - 1, form[i - 1]);
    i += digits;
  }
  return text;
}

}  // namespace

Line lineOf(const std::string& opcode, const std::string& operands, const std::vector<std::string>& names) {
  testedForms().insert(opcode + " " + operands);
  const std::string form = spelledOut(operands);
  testedOpcodes().insert(opcode);
  Line line;
  line.text = opcode + " ";
  bool isResult = form.find('=') != std::string::npos, isGroup = false;
  size_t operand = 0;
  for (size_t i = 0; i < form.size(); ++i) {
    const char c = form[i];
    if (c == '=') {
      isResult = false;
      line.text.back() = ',';
      continue;
    }
    isGroup = c == '{' || (isGroup && c != '}');
    if (!std::isalpha(uint8_t(c))) {
      line.text += c;
      continue;
    }
    const bool isAddress = i > 0 && form[i - 1] == '[';
    std::string& kinds = isResult ? line.results : line.sources;
    const std::string name = (isResult ? "%d" : "%a") + number(kinds.size());
    const bool isRegister = isAddress || (c != 'i' && c != 's' && c != 'L');
    if (isRegister) kinds += !isAddress ? c : c == 'w' ? 's' : form[i + 1] == ',' ? 'm' : 'g';
    if (isGroup && std::isalpha(uint8_t(form[i - 1]))) line.text += ", ";
    line.text += operand < names.size() ? names[operand] : name;
    ++operand;
  }
  line.text += ";";
  return line;
}

Outcome run(const Line& line) {
  const size_t all = line.operands.empty() ? line.threads : line.operands[0].size();
  std::vector<uint64_t> in(all * line.sources.size());
  for (size_t i = 0; i < line.sources.size(); ++i) {
    for (size_t thread = 0; thread < all; ++thread)
      in[thread * line.sources.size() + i] = line.operands.at(i).at(thread);
  }
  std::vector<uint64_t> out(all * line.results.size());
  emulator::Memory memory;
  struct {
    void *in, *out, *global, *image;
    uint8_t bytes[kParameterBytes];
    cuda::TensorMap map;
  } params;
  params = {copyOf(memory, in), copyOf(memory, out), copyOf(memory, line.global), copyOf(memory, line.shared), {}, {}};
  if (line.tensor) {
    emulator::TensorShape shape = *line.tensor;
    shape.base = params.global;
    params.map = emulator::makeTensorMap(shape);
  }
  for (uint32_t i = 0; i < kParameterBytes; ++i) params.bytes[i] = parameterByte(i);

  emulator::Options options = emulator::parseOptions("workers:1," + line.words);
  options.memory = &memory;
  const emulator::Grid grid{uint32_t(all / line.threads), line.threads, uint32_t(line.shared.size())};
  Outcome outcome;
  try {
    Module(kernelOf(line)).launch("kernel", grid, options, &params);
  } catch (const emulator::Error& error) {
    outcome.error = error.what();
  }
  if (!out.empty()) std::memcpy(out.data(), params.out, out.size() * sizeof out[0]);
  for (size_t i = 0; i < line.results.size(); ++i) {
    outcome.results.push_back(
        bitsOf(uint32_t(all), [&](size_t thread) { return out[thread * line.results.size() + i]; }));
  }
  const auto bytesAt = [](const void* from, size_t bytes) {
    return std::vector<uint8_t>(static_cast<const uint8_t*>(from), static_cast<const uint8_t*>(from) + bytes);
  };
  outcome.global = bytesAt(params.global, line.global.size());
  outcome.shared = bytesAt(params.image, line.shared.size());
  return outcome;
}

void expectBits(const std::string& what, const Outcome& outcome, size_t result, const Bits& expected) {
  CHECK(outcome.error.empty(), "%s: %s", what.c_str(), outcome.error.c_str());
  const Bits& got = outcome.results.at(result);
  for (size_t thread = 0; thread < expected.size(); ++thread) {
    CHECK(got.at(thread) == expected[thread], "%s: result %zu of thread %zu is %llx, not %llx", what.c_str(), result,
          thread, static_cast<unsigned long long>(got[thread]), static_cast<unsigned long long>(expected[thread]));
  }
}

void expectBytes(const std::string& what, const std::vector<uint8_t>& got, const std::vector<uint8_t>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    CHECK(got.at(i) == expected[i], "%s: byte %zu is %02x, not %02x", what.c_str(), i, got[i], expected[i]);
  }
}

bool isTested(const std::string& opcode, const std::string& form) {
  return testedForms().count(opcode + " " + form) != 0;
}
bool isTested(const std::string& opcode) { return testedOpcodes().count(opcode) != 0; }

}  // namespace tilewise::ptx
