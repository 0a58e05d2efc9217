// Times the kernels alone, without Node and without copies: what the tile table is tuned by, and one side of a
// comparison. Reads cases, a line each, from a file or, with '-', as they come; prints a line of JSON for each. Usage:
// kernel_times [folder of images] [cases.txt or -] [seconds] [words that a case must have] Left out: kernels/ and
// cases.txt as scripts/gpu-programs.mjs lays them around the program, 20 seconds, every case. Reader: someone with a
// GPU for some minutes. FLOPs count visible pairs; times are medians of 21 calls.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "../../core/plan/plan.h"
#include "../../cuda/operations.h"
#include "../../cuda/runtime/driver.h"
#include "../../cuda/runtime/library.h"
#include "case.h"
#include "timed_queue.h"

using namespace tilewise;
using namespace tilewise::bench;

namespace {

constexpr int kSamples = 21;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Rows are flushed as they are made, so that a program that is stopped loses none.
void print(const char* group, const std::string& row) {
  std::printf("{\"group\": \"%s\", %s}\n", group, row.c_str());
  std::fflush(stdout);
}
std::string field(const char* name, double value) {
  char text[96];
  std::snprintf(text, sizeof text, ", \"%s\": %.6g", name, value);
  return text;
}
std::string jsonText(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '"' || c == '\\' || c < ' ' ? ' ' : c;
  return "\"" + safe + "\"";
}
std::string timesOf(const Times& t) {
  return field("ms", t.median) + field("msLeast", t.least) + field("msMost", t.most) + field("samples", kSamples);
}

class Bench {
 public:
  Bench(cuda::Device& device, const cuda::Images& images) : device_(device), queue_(device, images), noise_(1 << 20) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (uint16_t& bits : noise_) bits = toBfloat16(normal(random));
  }

  void run(Case c) {
    putOperands(c);
    AttentionProblem& p = c.problem;
    const CancelFlag cancel{false};
    const cuda::StagedAttention staged{p, p};
    const auto select = [&] { cuda::run(c.selection, device_.limits(), queue_, cancel); };
    const auto attend = [&] { cuda::run(staged, device_.limits(), queue_, cancel); };
    const Times times = queue_.time(
        [&] {
          if (c.isSelected) select();
          attend();
        },
        kSamples, c.isCold);
    const cuda::LaunchPlan plan = cuda::planLaunch(p, p.queries, p.keys);
    std::string row = "\"case\": " + jsonText(c.line) + ", \"kernel\": " + jsonText(plan.kernel()) + timesOf(times);
    if (c.isSelected) row += field("selectMs", queue_.time(select, kSamples, c.isCold).median);
    const double bytes = double(sizeOf(p.dtype)) * p.batch * p.kvHeads * double(p.keys) * (p.headDim + p.valueDim);
    row += field("keyGbps", bytes / times.median / 1e6);
    if (!c.isSelected) row += countsOf(c, cuda::planLaunch(p, p.queries, p.keys), times);
    queue_.freeAll();
    print("tilewise", row);
  }

 private:
  void putOperands(Case& c) {
    AttentionProblem& p = c.problem;
    const auto fill = [&](Operand& operand) {
      const int64_t bytes = operand.batch * p.batch * sizeOf(p.dtype);
      const int64_t step = int64_t(noise_.size()) * 2;
      operand.data = queue_.allocate(bytes);
      // Bits of normal bfloat16 numbers are moderate numbers in the other types, too.
      for (int64_t at = 0; at < bytes; at += step) {
        queue_.upload(static_cast<char*>(operand.data) + at, noise_.data(), smaller(bytes - at, step));
      }
    };
    const auto array = [&](const std::vector<int32_t>& values) {
      auto* to = static_cast<int32_t*>(queue_.allocate(int64_t(values.size()) * 4));
      queue_.upload(to, values.data(), int64_t(values.size()) * 4);
      return to;
    };
    for (Operand* operand : {&p.query, &p.key, &p.value, &p.out}) fill(*operand);
    if (!c.begins.empty()) p.blocks.begins = array(c.begins);
    if (c.isSelected) {
      SelectionProblem& s = c.selection;
      s.query.data = p.query.data;
      s.key.data = p.key.data;
      for (int32_t i = 0; i < s.stages; ++i) {
        const int64_t lists = int64_t(s.batch) * s.lists() * s.blocks(i);
        s.stage[i].counts = static_cast<int32_t*>(queue_.allocate(lists * 4));
        s.stage[i].starts = static_cast<int32_t*>(queue_.allocate(lists * s.stage[i].keep * 4));
      }
      p.blocks.counts = s.stage[s.stages - 1].counts.data;
      p.blocks.starts = s.stage[s.stages - 1].starts.data;
    } else if (!c.begins.empty()) {
      p.blocks.counts = array(c.counts);
      p.blocks.starts = array(c.starts);
    }
    queue_.keep();
  }

  // Pairs that are visible, and pairs that these tiles compute: their ratio between two patterns is what one can gain.
  static std::string countsOf(const Case& c, const cuda::LaunchPlan& plan, const Times& times) {
    AttentionProblem p = plan.params.problem;
    p.blocks.begins = c.begins.data();
    p.blocks.counts = c.counts.data();
    p.blocks.starts = c.starts.data();
    const TileCounts counts = explain(p, ruleOf(plan)).sum;
    const double flops = 2.0 * double(counts.useful) * (p.headDim + p.valueDim);
    return field("usefulPairs", double(counts.useful)) + field("computedPairs", double(counts.computed)) +
           field("tflops", flops / times.median / 1e9);
  }

  cuda::Device& device_;
  TimedQueue queue_;
  std::vector<uint16_t> noise_;
};

}  // namespace

int main(int argc, char** argv) {
  const cuda::Driver& driver = cuda::driver();
  if (driver.code) return std::printf("left out, no GPU: %s\n", driver.reason.c_str()), 0;
  const std::filesystem::path own = cuda::ownFolder();
  const std::filesystem::path folder = argc > 1 ? argv[1] : own.parent_path() / "kernels";
  const std::filesystem::path cases = argc > 2 ? argv[2] : own / "cases.txt";
  const double end = now() + (argc > 3 ? std::atof(argv[3]) : 20);
  const std::string wanted = argc > 4 ? argv[4] : "";
  std::ifstream file(cases);
  std::istream& lines = cases == "-" ? std::cin : file;
  try {
    auto* device = new cuda::Device(driver, 0);  // leaked, as the context is
    auto* images = new cuda::Images(folder);
    auto* bench = new Bench(*device, *images);
    print("card", "\"name\": " + jsonText(device->name()) + field("multiprocessors", device->limits().multiprocessors));
    for (std::string line; std::getline(lines, line) && now() < end;) {
      if (line.empty() || line[0] == '#' || line.find(wanted) == std::string::npos) continue;
      const std::string name = "\"case\": " + jsonText(line);
      if (line.find("measure=") == std::string::npos) {  // what is not about attention is PyTorch's to measure
        try {
          bench->run(readCase(line));
        } catch (const std::invalid_argument& error) {
          print("refused", name + ", \"by\": \"tilewise\", \"reason\": " + jsonText(error.what()));
        }
      }
      print("done", name);
    }
  } catch (const std::exception& error) {
    std::printf("failed: %s\n", error.what());
    return 1;
  }
  return 0;
}
