// Times the attention kernels alone, without Node and without copies: what the tile table is tuned by. Prints a line of
// JSON per shape. Usage: kernels <folder of images> [seconds] [filter]
// Reader: someone with a GPU for some minutes. FLOPs count visible pairs; times are medians of batches of launches.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "../../core/plan.h"
#include "../../cuda/attention/plan.h"
#include "../../cuda/operations.h"
#include "../../cuda/runtime/driver.h"
#include "../../cuda/runtime/machine.h"

using namespace tilewise;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Shape {
  std::string name;
  Problem problem;
  std::vector<int32_t> begins, counts, starts;  // of lists
};

class Bench {
 public:
  explicit Bench(cuda::DriverMachine& machine) : machine_(machine) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (uint16_t& bits : noise_) bits = toBfloat16(normal(random));
  }

  void run(Shape shape) {
    Problem& p = shape.problem;
    const int64_t pairs = visiblePairs(shape);
    const auto queue = machine_.queue();
    const auto fill = [&](Operand& o, int64_t heads, int64_t tokens, int64_t dim) {
      const int64_t bytes = p.batch * heads * tokens * dim * sizeOf(p.dtype);
      o.data = queue->allocate(bytes);
      // Bits of normal bfloat16 numbers are moderate numbers in the other types, too.
      for (int64_t at = 0; at < bytes; at += int64_t(sizeof(noise_))) {
        queue->upload(static_cast<char*>(o.data) + at, noise_, smaller<int64_t>(bytes - at, sizeof(noise_)));
      }
      o.dim = 1;
      o.head = dim;
      o.token = heads * dim;
      o.batch = tokens * heads * dim;
    };
    fill(p.query, p.queryHeads, p.queries, p.headDim);
    fill(p.key, p.kvHeads, p.keys, p.headDim);
    fill(p.value, p.kvHeads, p.keys, p.valueDim);
    fill(p.out, p.outputHeads(), p.queries, p.valueDim);
    const auto list = [&](const std::vector<int32_t>& values) {
      void* to = queue->allocate(int64_t(values.size()) * 4);
      queue->upload(to, values.data(), int64_t(values.size()) * 4);
      return static_cast<const int32_t*>(to);
    };
    if (p.pattern == PatternKind::blocks) {
      p.blocks.begins = list(shape.begins);
      p.blocks.counts = list(shape.counts);
      p.blocks.starts = list(shape.starts);
    }
    const CancelFlag cancel{false};
    const auto once = [&] { gpu::runAttention(p, p, machine_.limits(), *queue, cancel); };
    once();
    queue->wait();
    double begin = now();
    once();
    queue->wait();
    const int perBatch = int(clamp(0.01 / (now() - begin), 1.0, 200.0));
    std::vector<double> times;
    for (int batch = 0; batch < 20; ++batch) {
      begin = now();
      for (int i = 0; i < perBatch; ++i) once();
      queue->wait();
      times.push_back((now() - begin) / perBatch);
    }
    std::sort(times.begin(), times.end());
    const double seconds = times[times.size() / 2];
    const double flops = 2.0 * double(pairs) * (p.headDim + p.valueDim);
    const double bytes = double(sizeOf(p.dtype)) * p.batch * p.kvHeads * double(p.keys) * (p.headDim + p.valueDim);
    const gpu::AttentionPlan plan = gpu::planAttention(p, p);
    std::printf("{\"bench\":\"kernels\",\"shape\":\"%s\",\"kernel\":\"%s\",\"us\":%.2f,\"fastestUs\":%.2f,\"tflops\":%.1f,"
                "\"keyGBps\":%.0f}\n",
                shape.name.c_str(), plan.kernel().c_str(), seconds * 1e6, times[0] * 1e6, flops / seconds / 1e12,
                bytes / seconds / 1e9);
    std::fflush(stdout);
  }

 private:
  static int64_t visiblePairs(const Shape& shape) {
    Problem p = shape.problem;
    p.blocks.begins = shape.begins.data();
    p.blocks.counts = shape.counts.data();
    p.blocks.starts = shape.starts.data();
    TileRule rule;
    rule.queries[0] = 64;
    rule.keys[0] = 64;
    if (p.pattern == PatternKind::neighborhood) {
      for (int a = 0; a < kMaxRank; ++a) rule.queries[a] = rule.keys[a] = a < p.grid.rank ? 8 : 1;
    }
    return explain(p, rule).sum.useful;
  }

  cuda::DriverMachine& machine_;
  uint16_t noise_[1 << 20];
};

Shape dense(DType type, int dim, Token tokens, bool isCausal) {
  Shape s;
  Problem& p = s.problem;
  p.dtype = type;
  p.headDim = p.valueDim = dim;
  p.queryHeads = p.kvHeads = smaller(32, 2048 / dim);
  p.queries = p.keys = tokens;
  p.batch = p.sequences = larger<int32_t>(1, 16384 / tokens);
  p.scale = 1 / std::sqrt(float(dim));
  if (isCausal) p.window.right = 0;
  s.name = std::string(isCausal ? "causal " : "full ") + nameOf(type) + " D=" + std::to_string(dim) +
           " N=" + std::to_string(tokens);
  return s;
}

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const bool isCausal : {false, true}) {
    for (int dim : {128, 64, 256}) all.push_back(dense(DType::bfloat16, dim, 8192, isCausal));
  }
  Shape s = dense(DType::bfloat16, 128, 8192, true);
  s.problem.window.left = 1023;
  s.name = "window 1024 " + s.name;
  all.push_back(s);
  for (const auto& [rank, kernel] : {std::pair{2, 7}, {2, 13}, {3, 7}}) {
    s = dense(DType::bfloat16, 64, rank == 2 ? 128 * 128 : 16 * 32 * 32, false);
    Grid& g = s.problem.grid;
    s.problem.pattern = PatternKind::neighborhood;
    g.rank = rank;
    const Token lengths[2][3] = {{128, 128, 1}, {16, 32, 32}};
    for (int a = 0; a < rank; ++a) {
      g.length[a] = lengths[rank - 2][a];
      g.kernel[a] = kernel;
    }
    s.name = "neighborhood " + std::to_string(rank) + "-D kernel " + std::to_string(kernel) + " D=64";
    all.push_back(s);
  }
  s = dense(DType::bfloat16, 128, 16384, true);
  s.problem.pattern = PatternKind::stridedShards;
  s.problem.shards = {64, 16, 1, 16, 1};
  s.name = "S2 block 64 local 16 stride 16 N=16384 D=128";
  all.push_back(s);
  for (const Token chunk : {64, 8, 1}) {
    s = dense(DType::bfloat16, 128, 16384, true);
    Problem& p = s.problem;
    p.pattern = PatternKind::blocks;
    p.blocks.queries = 64;
    p.blocks.keys = chunk;
    const int32_t blocks = p.queries / 64, listed = 2048 / chunk;
    p.blocks.byHead = blocks;
    std::mt19937 random(2);
    for (int32_t list = 0; list < blocks * p.outputHeads(); ++list) {
      s.begins.push_back(int32_t(s.starts.size()));
      const Token end = (list % blocks + 1) * 64, slots = end / chunk;
      for (Token slot = 0; slot < slots; ++slot) {
        if (int32_t(random() % uint32_t(slots)) < listed) s.starts.push_back(slot * chunk);
      }
      s.counts.push_back(int32_t(s.starts.size()) - s.begins.back());
    }
    s.name = "lists of 2048 keys in chunks of " + std::to_string(chunk) + " N=16384 D=128";
    all.push_back(s);
  }
  for (const Token keys : {65536, 8192}) {
    for (const int group : {1, 8}) {
      s = dense(DType::bfloat16, 128, keys, true);
      s.problem.batch = s.problem.sequences = 8;
      s.problem.queries = 1;
      s.problem.kvHeads = 8;
      s.problem.queryHeads = 8 * group;
      s.name = "decode group " + std::to_string(group) + " B=8 Hkv=8 N=" + std::to_string(keys) + " D=128";
      all.push_back(s);
    }
  }
  for (const bool isCausal : {false, true}) {
    all.push_back(dense(DType::float16, 128, 8192, isCausal));
    all.push_back(dense(DType::float32, 64, 4096, isCausal));
    all.push_back(dense(DType::bfloat16, 128, 2048, isCausal));
    all.push_back(dense(DType::bfloat16, 96, 8192, isCausal));
    all.push_back(dense(DType::bfloat16, 192, 8192, isCausal));
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  const cuda::Driver& driver = cuda::driver();
  if (driver.code) {
    std::printf("no GPU: %s\n", driver.reason.c_str());
    return 0;
  }
  const auto* images = new cuda::Images(argc > 1 ? argv[1] : "kernels");
  auto* machine = new cuda::DriverMachine(driver, 0, *images);
  const double end = now() + (argc > 2 ? std::atof(argv[2]) : 60);
  const std::string filter = argc > 3 ? argv[3] : "";
  auto* bench = new Bench(*machine);
  for (Shape& shape : shapes()) {
    if (now() > end) break;
    if (shape.name.find(filter) != std::string::npos) bench->run(std::move(shape));
  }
  return 0;
}
