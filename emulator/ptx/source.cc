// What stands outside kernels: directives that are known, and no others.
#include "kernel.h"
#include "parser.h"
#include "source.h"

namespace tilewise::ptx {
namespace {

// .extern .shared .align 1024 .b8 name[];
std::string_view readSharedArray(Cursor& cursor) {
  cursor.expect(".shared");
  cursor.expect(".align");
  cursor.takeNumber();
  cursor.expect(".b8");
  const std::string_view name = cursor.take();
  for (const char* token : {"[", "]", ";"}) cursor.expect(token);
  return name;
}

void skipKernel(Cursor& cursor) {
  while (cursor.peek() != "{") {
    if (cursor.take().empty()) cursor.fail("a kernel without body");
  }
  cursor.skipBraces();
}

void readDirective(Source& source, Cursor& cursor, std::string_view directive) {
  if (directive == ".version" || directive == ".target" || directive == ".address_size") {
    cursor.skipLine();
  } else if (directive == ".file") {
    const auto number = uint32_t(cursor.takeNumber());
    source.files[number] = cursor.takeString();
    cursor.skipLine();
  } else if (directive == ".entry") {
    const std::string name(cursor.take());
    source.kernels.emplace(name, cursor);
    skipKernel(cursor);
  } else if (directive == ".extern") {
    source.sharedArrays.insert(readSharedArray(cursor));
  } else if (directive == ".section") {  // names for debuggers
    cursor.take();
    cursor.skipBraces();
  } else if (directive != ".visible") {
    cursor.fail("'" + std::string(directive) + "' is not known outside kernels");
  }
}

}  // namespace

Module::Module(std::string text) : source_(std::make_unique<Source>()) {
  source_->text = std::move(text);
  Cursor cursor(source_->text);
  for (std::string_view token; !(token = cursor.take()).empty();) readDirective(*source_, cursor, token);
}

Module::~Module() = default;

std::vector<std::string> Module::kernels() const {
  std::vector<std::string> names;
  for (const auto& [name, cursor] : source_->kernels) names.push_back(name);
  return names;
}

bool Module::has(const std::string& kernel) const { return source_->kernels.count(kernel) != 0; }

const Declaration& Module::declaration(const std::string& kernel) const { return read(kernel).declaration; }

const Kernel& Module::read(const std::string& kernel) const {
  const auto found = source_->kernels.find(kernel);
  if (found == source_->kernels.end()) throw emulator::Error("there is no kernel " + kernel);
  const std::lock_guard<std::mutex> lock(mutex_);
  std::unique_ptr<Kernel>& known = read_[kernel];
  if (!known) known = readKernel(*source_, kernel, found->second);
  return *known;
}

}  // namespace tilewise::ptx
