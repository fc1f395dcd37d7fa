// `quoin architect`: a verdict on a kernel, from a document or from its parts.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "architect/model/model.h"
#include "architect/source/document.h"
#include "architect/verdict/verdict.h"
#include "cli/command.h"
#include "cli/output_file.h"
#include "cost/devices.h"

namespace quoin::cli {
namespace {

// A document is tens of kilobytes. Beyond this nobody wrote it by hand, and reading on could fill
// the memory.
constexpr std::size_t kMaxInput = std::size_t{16} << 20;

struct ArchitectOptions {
  std::string document;
  std::optional<std::string> reference, kernel, performance, model_out;
  std::string device = "h100-sxm";
  std::string format = "json";
  bool explain = false;
};

Result<std::string> read_text(const std::string& path) {
  const bool standard = path == "-";
  std::FILE* file = standard ? stdin : std::fopen(path.c_str(), "rb");
  const auto failed = [&](const char* what) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("cannot read {}: {}", standard ? "standard input" : path, what)};
  };
  if (file == nullptr) return failed(std::strerror(errno));
  std::string text;
  char buffer[1 << 16];
  std::size_t count = 0;
  while (text.size() <= kMaxInput && (count = std::fread(buffer, 1, sizeof buffer, file)) > 0)
    text.append(buffer, count);
  const bool broken = std::ferror(file) != 0;
  const int error = errno;
  if (!standard) (void)std::fclose(file);
  if (broken) return failed(std::strerror(error));
  if (text.size() > kMaxInput)
    return failed(fmt::format("it holds more than {} MiB", kMaxInput >> 20).c_str());
  return text;
}

Result<std::string> read_optional(const std::optional<std::string>& path) {
  return path ? read_text(*path) : Result<std::string>(std::string());
}

Result<architect::Document> document_of_options(const ArchitectOptions& options) {
  if (!options.kernel) {
    if (options.reference || options.performance) {
      return Error{
          ErrorCode::invalid_argument,
          "--reference and --performance belong to --kernel; without it give one document"};
    }
    Result<std::string> text = read_text(options.document.empty() ? "-" : options.document);
    if (!text) return text.error();
    return architect::read_document(text.value());
  }
  if (!options.document.empty()) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("give a document ('{}') or --kernel, not both", options.document)};
  }
  Result<std::string> reference = read_optional(options.reference);
  if (!reference) return reference.error();
  Result<std::string> kernel = read_text(*options.kernel);
  if (!kernel) return kernel.error();
  Result<std::string> performance = read_optional(options.performance);
  if (!performance) return performance.error();
  return architect::document_of(reference.value(), kernel.value(), performance.value());
}

int architect_command(const ArchitectOptions& options) {
  const cost::GpuDevice* gpu = cost::find_gpu(options.device);
  if (gpu == nullptr) {
    return report(
        Error{ErrorCode::invalid_argument, fmt::format("there is no device '{}'", options.device)});
  }
  const Result<architect::Document> document = document_of_options(options);
  if (!document) return report(document.error());
  const architect::Model model = architect::model_of(document.value());
  const architect::Verdict verdict = architect::judge(model, *gpu);
  if (options.explain) fmt::print(stderr, "{}", architect::explain(verdict, model, *gpu));
  if (options.model_out) {
    const Status written =
        write_text(*options.model_out, architect::model_json(verdict, model, *gpu) + "\n");
    if (!written) return report(written);
  }
  if (options.format == "text") {
    fmt::print("{}", architect::to_text(verdict));
  } else {
    fmt::print("{}\n", architect::to_json(verdict));
  }
  return kSuccess;
}

std::vector<std::string> gpu_names() {
  std::vector<std::string> names;
  for (const cost::GpuDevice& gpu : cost::gpu_devices()) names.emplace_back(gpu.name);
  return names;
}

}  // namespace

void add_architect(CLI::App& app, Action& action) {
  auto options = std::make_shared<ArchitectOptions>();
  CLI::App* command = app.add_subcommand(
      "architect",
      "Say whether a GPU kernel is worth optimising, and the one change to make.\n"
      "Reads a Markdown document with a PyTorch reference, the Triton kernel that implements it "
      "and perhaps measurements, models "
      "what the kernel does with the shapes of the document, prices one change after another and "
      "answers with JSON: "
      "worth_optimizing, reason, bottleneck, optimisation method, modification plan, "
      "expected_speedup. Nothing is run.");
  command->add_option("document", options->document, "The document; - or nothing: standard input.")
      ->type_name("FILE");
  add_file(*command, "--reference", options->reference,
           "The PyTorch reference as a file of its own, with --kernel.");
  add_file(*command, "--kernel", options->kernel,
           "The current kernel as a Python file, instead of a document.");
  add_file(*command, "--performance", options->performance,
           "Latencies or Nsight Compute metrics as a file, with --kernel.");
  command->add_option("--device", options->device, "The GPU to judge for.")
      ->type_name("NAME")
      ->check(CLI::IsMember(gpu_names()))
      ->capture_default_str();
  command->add_option("--format", options->format, "Form of the answer.")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"json", "text"}))
      ->capture_default_str();
  command->add_flag("--explain", options->explain,
                    "Print on standard error what was found and modelled: launches with their "
                    "times, the limit, every rule's price, "
                    "and what was not understood.");
  add_file(*command, "--model-out", options->model_out, "Where the same goes as JSON.");
  command->footer(
      "quoin architect document.md\nquoin architect --explain --format text < document.md\n"
      "quoin architect --reference model.py --kernel kernel.py --device a100-sxm-80");
  command->callback(
      [options, &action] { action = [options] { return architect_command(*options); }; });
}

}  // namespace quoin::cli
