// `quoin plan`: how a product would be computed and what that should cost, without running it.
#include "quoin/plan.h"

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"

namespace quoin::cli {
namespace {

struct PlanOptions {
  std::int64_t m = 0, n = 0, k = 0;
  int threads = 1;
  std::string backend, device, format = "text";
};

nlohmann::ordered_json to_json(const Plan& plan) {
  nlohmann::ordered_json json = {
      {"m", plan.m},
      {"n", plan.n},
      {"k", plan.k},
      {"threads", plan.threads},
      {"device", plan.device},
      {"backend", plan.backend},
      {"tile_rows", plan.tile_rows},
      {"tile_cols", plan.tile_cols},
      {"row_block", plan.row_block},
      {"k_block", plan.k_block},
      {"tiles", plan.tiles},
      {"modelled_seconds", plan.modelled_seconds},
      {"compute_limit_seconds", plan.compute_limit_seconds},
      {"memory_limit_seconds", plan.memory_limit_seconds},
      {"candidates", nlohmann::ordered_json::array()},
  };
  if (!plan.kernel.empty()) json["kernel"] = plan.kernel;
  for (const PlanCandidate& candidate : plan.candidates) {
    nlohmann::ordered_json entry = {{"backend", candidate.backend}, {"tile", candidate.tile}};
    if (candidate.refused_because.empty()) {
      entry["modelled_seconds"] = candidate.modelled_seconds;
    } else {
      entry["refused_because"] = candidate.refused_because;
    }
    json["candidates"].push_back(std::move(entry));
  }
  return json;
}

int print_plan(const PlanOptions& options) {
  const Result<Plan> plan =
      make_plan(options.m, options.n, options.k, options.threads, options.backend, options.device);
  if (!plan) return report(plan.error());
  if (options.format == "json") {
    fmt::print("{}\n", to_json(plan.value()).dump(2));
    return kSuccess;
  }
  const std::string text = to_string(plan.value());
  fmt::print("{}{}", text, text.ends_with('\n') ? "" : "\n");
  return kSuccess;
}

void add_size(CLI::App& command, const std::string& name, std::int64_t& size,
              const std::string& description) {
  command.add_option(name, size, description)->required()->type_name("INT")->check(size_check());
}

}  // namespace

void add_plan(CLI::App& app, Action& action) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand(
      "plan",
      "Show how a product would be computed and what it should cost, without running it.\n"
      "Tells the backend chosen, its tiles and their split over the threads, the modelled time and "
      "the limits of the machine, and for each other backend its price or why it is out; for a "
      "GPU, which need not be here, for each of its kernels.");
  add_size(*command, "M", options->m, "Rows of x and y.");
  add_size(*command, "N", options->n, "Rows of the weights, columns of y.");
  add_size(*command, "K", options->k, "Columns of x and of the weights.");
  add_threads(*command, options->threads);
  add_backend(*command, options->backend);
  command
      ->add_option("--device", options->device,
                   "Machine to plan for, a name from `quoin devices`. Default: this one.")
      ->type_name("NAME");
  add_format(*command, options->format);
  command->footer(
      "quoin plan 128 2048 2048\nquoin plan 128 2048 2048 --threads 1 --format json\n"
      "quoin plan 128 2048 2048 --device h100-sxm");
  command->callback([options, &action] { action = [options] { return print_plan(*options); }; });
}

}  // namespace quoin::cli
