// quoin_bench_linear: the operator against its peers, cell by cell, interleaved in one process.
//
// For each shape and thread count: every way of every peer is tried, the ways within 20% of the
// fastest enter, four at most, and are timed in turn with quoin beside the limit loops, hot and, up
// to 16 rows, cold: above, computing hides where the weights come from (bench/README.md).
// Prints a table, writes JSON with everything measured, and ends with the figures that decide.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/cell.h"
#include "bench/peer_entrants.h"
#include "cli/output_file.h"
#include "cli/progress.h"

namespace quoin::bench {
namespace {

struct Options {
  std::vector<std::string> modules;
  std::string out;
  std::vector<int> threads{1, 2};
  std::vector<std::int64_t> m{1, 2, 4, 8, 16, 64, 128, 512};
  std::vector<std::string> nk{"2048x2048", "4096x4096", "14336x4096", "4096x14336"};
  double min_seconds = 0.2;
};

constexpr std::int64_t kMostColdRows = 16;
constexpr std::size_t kMostPeerWays = 4;

/// The peers' ways that are worth timing: those within 20% of the fastest try, fastest first.
std::vector<Entrant> worth_timing(const Problem& p, int threads, const std::vector<Entrant>& ways) {
  std::vector<Float16> y(static_cast<std::size_t>(p.m * p.n));
  double best = INFINITY;
  std::vector<std::pair<double, std::size_t>> times;
  for (std::size_t way = 0; way < ways.size(); ++way) {
    const Result<Job> job = ways[way].prepare(p, threads, y.data());
    if (!job) continue;
    double least = INFINITY;
    for (int run = 0; run < 6 && (run < 2 || least < 2 * best); ++run) {
      const auto start = std::chrono::steady_clock::now();
      job.value()();
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      least = std::min(least, time.count());
    }
    times.emplace_back(least, way);
    best = std::min(best, least);
  }
  std::sort(times.begin(), times.end());
  std::vector<Entrant> chosen;
  for (const auto& [time, way] : times) {
    if (time <= 1.2 * best && chosen.size() < kMostPeerWays) chosen.push_back(ways[way]);
  }
  return chosen;
}

struct Row {
  CellResult cell;
  double quoin = 0, dynamic = 0, peer = 0;  // seconds
  std::string peer_name;
  double share = 0, peak_share = 0, read_share = 0;
};

Row make_row(const CellResult& cell) {
  Row row;
  row.cell = cell;
  for (const Timing& t : cell.comparison.timings) {
    if (!t.name.starts_with("quoin")) {
      if (row.peer == 0 || t.seconds.median < row.peer) {
        row.peer = t.seconds.median;
        row.peer_name = t.name;
      }
    } else if (t.name.ends_with("dynamic")) {
      row.dynamic = t.seconds.median;
    } else {
      row.quoin = t.seconds.median;
      row.share = t.limit_share.median;
      row.peak_share = t.compute_share.median;
      row.read_share = static_cast<double>(cell.n * cell.k) / t.seconds.median /
                       cell.comparison.read_bytes_per_second.median;
    }
  }
  return row;
}

void print_row(const Row& r) {
  fmt::print(
      "{:>16} {:>2} {:>5} {:>10.1f} {:>6.1f} {:>6.1f} {:>6.1f} {:>8.2f} {:>10.1f} {:>6.2f}  {}\n",
      fmt::format("{}x{}x{}", r.cell.m, r.cell.n, r.cell.k), r.cell.threads,
      r.cell.cold ? "cold" : "hot", r.quoin * 1e6, 100 * r.share, 100 * r.peak_share,
      100 * r.read_share, r.dynamic / r.quoin, r.peer * 1e6, r.peer / r.quoin, r.peer_name);
  for (const std::string& wrong : r.cell.wrong) fmt::print("  WRONG {}\n", wrong);
  std::fflush(stdout);
}

double geometric_mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += std::log(v);
  return values.empty() ? 0 : std::exp(sum / static_cast<double>(values.size()));
}

/// The figures of merit over the hot cells, by rows of x.
nlohmann::ordered_json summarise(const std::vector<Row>& rows) {
  nlohmann::ordered_json summary;
  const auto add = [&](const std::string& name, auto&& wanted) {
    std::vector<double> ratios;
    double worst_ratio = INFINITY, worst_share = INFINITY;
    for (const Row& r : rows) {
      if (r.cell.cold || !wanted(r) || r.peer == 0) continue;
      ratios.push_back(r.peer / r.quoin);
      worst_ratio = std::min(worst_ratio, r.peer / r.quoin);
      worst_share = std::min(worst_share, r.share);
    }
    if (ratios.empty()) return;
    summary[name] = {{"cells", ratios.size()},
                     {"speedup_geomean", geometric_mean(ratios)},
                     {"speedup_worst", worst_ratio},
                     {"share_of_limit_worst", worst_share}};
    fmt::print(
        "{:<24} {:>3} cells: {:.3f}x the best peer (geometric mean), worst {:.3f}x; worst "
        "share of the limit {:.1f}%\n",
        name, ratios.size(), geometric_mean(ratios), worst_ratio, 100 * worst_share);
  };
  add("M 64 to 512", [](const Row& r) { return r.cell.m >= 64; });
  add("M 16", [](const Row& r) { return r.cell.m == 16; });
  add("M 16 to 512", [](const Row& r) { return r.cell.m >= 16; });
  add("M 1 to 8", [](const Row& r) { return r.cell.m <= 8; });
  add("all", [](const Row&) { return true; });
  return summary;
}

int fail_with(const Error& error) {
  fmt::print(stderr, "quoin_bench_linear: {}\n", error.message);
  return 2;
}

int run(const Options& options) {
  std::vector<const QuoinPeer*> peers;
  nlohmann::ordered_json results = {{"machine", machine_json()},
                                    {"peers", nlohmann::ordered_json::array()},
                                    {"cells", nlohmann::ordered_json::array()}};
  for (const std::string& module : options.modules) {
    const Result<const QuoinPeer*> peer = open_peer(module);
    if (!peer) return fail_with(peer.error());
    peers.push_back(peer.value());
    results["peers"].push_back(title(*peer.value()));
  }
  std::optional<cli::OutputFile> file;
  if (!options.out.empty()) {
    Result<cli::OutputFile> created = cli::OutputFile::create(options.out);
    if (!created) return fail_with(created.error());
    file.emplace(std::move(created).value());
  }
  const Backend& best = kBackends.front();
  fmt::print("{:>16} {:>2} {:>5} {:>10} {:>6} {:>6} {:>6} {:>8} {:>10} {:>6}  {}\n", "MxNxK", "T",
             "", "quoin us", "%limit", "%peak", "%read", "dynamic", "peer us", "x", "best peer");
  std::vector<Row> rows;
  cli::Progress progress("cell", options.nk.size() * options.m.size() * options.threads.size());
  for (const std::string& nk : options.nk) {
    const std::size_t cross = nk.find('x');
    const std::int64_t n = std::stoll(nk.substr(0, cross)), k = std::stoll(nk.substr(cross + 1));
    for (const std::int64_t m : options.m) {
      const Problem problem = random_problem(m, n, k, 1);
      for (const int threads : options.threads) {
        progress.step(fmt::format("{} x {} x {}, {} threads", m, n, k, threads));
        std::vector<Entrant> entrants{quoin_entrant(std::string(best.name)),
                                      dynamic_entrant(std::string(best.name))};
        for (Entrant& e :
             worth_timing(problem, threads, peer_entrants(peers, QuoinPeerKind::kInt8))) {
          entrants.push_back(std::move(e));
        }
        for (const bool cold : {false, true}) {
          if (cold && m > kMostColdRows) continue;
          const CellResult cell =
              run_cell(problem, threads, entrants,
                       {.cold = cold, .min_seconds = options.min_seconds, .peak = peak_loop(best)});
          rows.push_back(make_row(cell));
          results["cells"].push_back(to_json(cell));
          progress.clear();
          print_row(rows.back());
        }
      }
    }
  }
  results["summary"] = summarise(rows);
  if (file) {
    const std::string text = results.dump(1) + "\n";
    if (const Status s = file->write(std::as_bytes(std::span(text))); !s)
      return fail_with(s.error());
    if (const Status s = file->finish(); !s) return fail_with(s.error());
    if (const Status s = cli::OutputFile::publish({&*file, 1}); !s) return fail_with(s.error());
  }
  return std::all_of(rows.begin(), rows.end(), [](const Row& r) { return r.cell.wrong.empty(); })
             ? 0
             : 1;
}

}  // namespace
}  // namespace quoin::bench

int main(int argc, char** argv) {
  quoin::bench::Options options;
  CLI::App app("The operator against its peers, with the machine's limits measured beside it.");
  app.add_option("--peer", options.modules, "Modules of peers (targets peer_*)");
  app.add_option("--out", options.out, "Results file, JSON");
  app.add_option("--threads", options.threads, "Thread counts")->delimiter(',');
  app.add_option("--m", options.m, "Rows of x")->delimiter(',');
  app.add_option("--nk", options.nk, "Weights, NxK")->delimiter(',');
  app.add_option("--min-seconds", options.min_seconds, "Time for each entrant of a cell");
  CLI11_PARSE(app, argc, argv);
  return quoin::bench::run(options);
}
