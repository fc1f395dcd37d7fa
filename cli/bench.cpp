// `quoin bench`: times backends, with each result as a share of the machine's limit.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/cell.h"
#include "cli/command.h"
#include "cli/output_file.h"
#include "cli/progress.h"
#include "linear/select.h"

namespace quoin::cli {
namespace {

struct BenchOptions {
  std::vector<std::string> shapes = {"128x2048x2048"};  // each passed shape_check
  std::vector<int> threads;                             // never empty once parsed
  std::vector<std::string> backends;                    // empty: all that this machine has
  std::optional<std::string> json;                      // "-" is standard output
  double min_seconds = 0.5;
};

std::vector<const Backend*> wanted_backends(const std::vector<std::string>& names) {
  std::vector<const Backend*> wanted;
  for (const Backend& backend : kBackends) {
    const bool named = std::find(names.begin(), names.end(), backend.name) != names.end();
    if (named || (names.empty() && refusal(backend, this_cpu()).empty()))
      wanted.push_back(&backend);
  }
  return wanted;
}

void print_cell(const bench::CellResult& cell) {
  for (const bench::Timing& timing : cell.comparison.timings) {
    fmt::print(
        "{:>18} {:>7} {:>5} {:<24} {:>11.1f} {:>8.1f} {:>8.1f} {:>9.1f}\n",
        fmt::format("{}x{}x{}", cell.m, cell.n, cell.k), cell.threads, cell.cold ? "cold" : "hot",
        timing.name, timing.seconds.median * 1e6, 100 * timing.limit_share.median,
        100 * timing.compute_share.median,
        static_cast<double>(cell.n) * static_cast<double>(cell.k) / timing.seconds.median * 1e-9);
  }
  for (const std::string& reason : cell.refused) fmt::print("  refused: {}\n", reason);
  for (const std::string& reason : cell.wrong) fmt::print("  WRONG: {}\n", reason);
}

// One backend a cell, because each has a peak of its own.
int bench(const BenchOptions& options) {
  const std::vector<const Backend*> backends = wanted_backends(options.backends);
  const std::vector<Shape> shapes = parse_shapes(options.shapes);
  const bool json_only = options.json == "-";
  std::optional<OutputFile>
      file;  // a target that cannot be written is known before the minutes of work
  if (options.json && !json_only) {
    Result<OutputFile> created = OutputFile::create(*options.json);
    if (!created) return report(created.error());
    file.emplace(std::move(created).value());
  }
  nlohmann::ordered_json results = {{"machine", bench::machine_json()},
                                    {"cells", nlohmann::ordered_json::array()}};
  if (!json_only) {
    fmt::print("{:>18} {:>7} {:>5} {:<24} {:>11} {:>8} {:>8} {:>9}\n", "M x N x K", "threads", "",
               "", "us", "% limit", "% peak", "GB/s");
  }
  Progress progress("bench", shapes.size() * options.threads.size() * backends.size() * 2);
  bool all_right = true;
  for (const Shape& shape : shapes) {
    const bench::Problem problem = bench::random_problem(shape.m, shape.n, shape.k, 1);
    for (const int threads : options.threads) {
      for (const Backend* backend : backends) {
        const std::string name(backend->name);
        for (const bool cold : {false, true}) {
          progress.step(fmt::format("{} x {} x {} {} {}", shape.m, shape.n, shape.k, name,
                                    cold ? "cold" : "hot"));
          const bench::CellResult cell = bench::run_cell(
              problem, threads, {bench::quoin_entrant(name), bench::dynamic_entrant(name)},
              {.cold = cold,
               .min_seconds = options.min_seconds,
               .peak = bench::peak_loop(*backend)});
          all_right = all_right && cell.wrong.empty();
          results["cells"].push_back(bench::to_json(cell));
          progress.clear();
          if (!json_only) print_cell(cell);
          std::fflush(stdout);
        }
      }
    }
  }
  if (json_only) {
    fmt::print("{}\n", results.dump(1));
  } else if (file) {
    const std::string text = results.dump(1) + "\n";
    if (const Status s = file->write(std::as_bytes(std::span(text))); !s) return report(s);
    if (const Status s = file->finish(); !s) return report(s);
    if (const Status s = OutputFile::publish({&*file, 1}); !s) return report(s);
  }
  return all_right ? kSuccess : kFailure;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand(
      "bench",
      "Time the backends, each as a share of what this machine can do.\n"
      "The limit is measured beside each result: a loop of int8 multiply-adds in registers, and a "
      "loop that reads memory. Results are checked before they are timed.");
  command->add_option("--shapes", options->shapes, "Problems to time, MxNxK, separated by commas.")
      ->type_name("MxNxK")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(shape_check())
      ->default_str("128x2048x2048");
  command
      ->add_option("--threads", options->threads,
                   "Numbers of threads to time, separated by commas. Default: 1 and one for each "
                   "CPU that this process may use.")
      ->type_name("N")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(thread_check());
  command
      ->add_option("--backend", options->backends,
                   "Backends to time, separated by commas. Default: all that this machine has.")
      ->type_name("NAME")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(backend_names()));
  add_file(*command, "--json", options->json,
           "Write the results as JSON to a file too, or with - to standard output instead of the "
           "table.");
  command
      ->add_option("--min-seconds", options->min_seconds,
                   "Time spent on each result at least, in seconds.")
      ->type_name("S")
      ->check(seconds_check())
      ->capture_default_str();
  command->footer("quoin bench\nquoin bench --shapes 16x4096x4096 --threads 1,2 --json r.json");
  command->callback([options, &action] {
    if (options->threads.empty()) {
      options->threads = {1};
      if (usable_cpus() > 1) options->threads.push_back(usable_cpus());
    }
    action = [options] { return bench(*options); };
  });
}

}  // namespace quoin::cli
