// Runs every test that was linked in. Prints a line for each, "ok" or "FAIL", and at the end how many there were.
#include "main.h"

#include <cstdio>
#include <exception>
#include <vector>

#include "report.h"

namespace tilewise::cuda::conformance {
namespace {

int passed = 0, failed = 0;

std::vector<void (*)()>& allCases() {
  static std::vector<void (*)()> cases;
  return cases;
}

}  // namespace

void report(const std::string& name, bool isOk) {
  std::printf("%s %s\n", isOk ? "ok  " : "FAIL", name.c_str());
  ++(isOk ? passed : failed);
}

Registration::Registration(void (*cases)()) { allCases().push_back(cases); }

}  // namespace tilewise::cuda::conformance

int main(int count, char** arguments) {
  using namespace tilewise::cuda::conformance;
  prepareMachine(count > 1 ? arguments[1] : "");
  for (const auto cases : allCases()) {
    try {
      cases();
    } catch (const std::exception& error) {
      report(error.what(), false);
    }
  }
  std::printf("%d ok, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
