// Options as text: "races,random:7".
#include <algorithm>
#include <cstdlib>

#include "emulator.h"

namespace tilewise::emulator {
namespace {

uint64_t numberAfter(const std::string& word, const std::string& key) {
  const std::string digits = word.substr(key.size());
  char* end = nullptr;
  const uint64_t number = std::strtoull(digits.c_str(), &end, 10);
  if (digits.empty() || *end != '\0' || number == 0) {
    throw Error("emulator: '" + word + "' should be " + key + " and a number from 1");
  }
  return number;
}

void setFromWord(Options& options, const std::string& word) {
  const auto startsWith = [&](const char* key) { return word.rfind(key, 0) == 0; };
  if (word == "lazy" || word.empty()) {
    options.async = Async::lazy;
  } else if (word == "eager") {
    options.async = Async::eager;
  } else if (word == "races") {
    options.races = true;
  } else if (startsWith("random:")) {
    options.async = Async::random;
    options.seed = numberAfter(word, "random:");
  } else if (startsWith("workers:")) {
    options.workers = int(numberAfter(word, "workers:"));
  } else {
    throw Error("emulator: '" + word + "' is not one of lazy, eager, random:<seed>, races, workers:<count>");
  }
}

}  // namespace

Options parseOptions(const std::string& text) {
  Options options;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    setFromWord(options, text.substr(start, end - start));
    start = end + 1;
  }
  return options;
}

}  // namespace tilewise::emulator
