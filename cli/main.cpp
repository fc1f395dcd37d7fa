// The `quoin` program: parses the command line, runs one subcommand, turns its outcome into an exit
// code. Results go to stdout, everything else to stderr as "quoin: <message>". Tests: tests/cli/.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <system_error>

#include "cli/command.h"
#include "cli/describe.h"
#include "quoin/device.h"

namespace quoin::cli {
namespace {

// In the order in which help, man page and completion show them.
constexpr std::array kCommands = {&add_matmul,    &add_quantize,   &add_verify,
                                  &add_bench,     &add_plan,
#ifdef QUOIN_ARCHITECT  // a build without tree-sitter leaves it out
                                  &add_architect,
#endif
                                  &add_devices,   &add_completion, &add_man};

constexpr const char* kDescription =
    "INT8 linear layers, y = x * w^T with row-wise dequantisation and bias, on NumPy files.\n"
    "x is int8 [M, K], w is int8 [N, K] (one row for each output channel), both with float32 "
    "scales, one for each row. Every backend and every number of threads gives the same bits.\n"
    "Files are NumPy's .npy, written whole or not at all. NumPy has no bfloat16: it travels as "
    "uint16, where --x-type, --bias-type or --out-type say bfloat16.";

constexpr const char* kExamples =
    "quoin quantize --x w_float.npy --out w.npy --out-scale sw.npy\n"
    "quoin matmul --x x_float.npy --weight w.npy --scale-w sw.npy --out y.npy\n"
    "quoin verify\n"
    "quoin bench --shapes 128x2048x2048";

int run(int argc, const char* const* argv) {
  CLI::App app(kDescription, "quoin");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_help_flag("-h,--help", "Print this help and exit.");
  app.set_version_flag("--version", fmt::format("quoin {}", version()),
                       "Print the version and exit.");
  app.footer(kExamples);
  app.require_subcommand(1);
  Action action;
  for (const auto& add : kCommands) add(app, action);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    command->set_help_flag("-h,--help", "Print this help and exit.");
  }

  const std::string first = argc > 1 ? argv[1] : "";
  const auto named_first = [&](const CLI::App* command) { return command->get_name() == first; };
  const bool is_flag = first.starts_with('-');
  if (is_flag ? app.get_option_no_throw(first) == nullptr
              : app.get_subcommands(named_first).empty()) {
    fmt::print(stderr, "quoin: {}; `quoin --help` lists the commands\n",
               first.empty()
                   ? "a command is needed"
                   : fmt::format("there is no {} '{}'", is_flag ? "option" : "command", first));
    return kBadInput;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return kSuccess;
  } catch (const CLI::CallForVersion& version) {
    fmt::print("{}\n", version.what());
    return kSuccess;
  } catch (const CLI::ParseError& error) {
    const auto chosen = app.get_subcommands();
    fmt::print(stderr, "quoin: {}\nTry `quoin {}--help`.\n", error.what(),
               chosen.empty() ? "" : chosen.front()->get_name() + " ");
    return kBadInput;
  }
  return action();
}

}  // namespace
}  // namespace quoin::cli

int main(int argc, char** argv) {
  using quoin::cli::kFailure;
  // A file over the size limit is then an error of write(2), which is reported and cleaned up.
  (void)std::signal(SIGXFSZ, SIG_IGN);
  int code = kFailure;
  try {
    code = quoin::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("quoin: out of memory\n", stderr);
  } catch (const std::system_error& error) {  // from a stream: its text says what failed
    std::fprintf(stderr, "quoin: %s\n", error.what());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quoin: internal error: %s\n", error.what());
  }
  if (std::fflush(stdout) != 0 && code == quoin::cli::kSuccess) {
    std::fprintf(stderr, "quoin: cannot write to standard output: %s\n", std::strerror(errno));
    code = kFailure;
  }
  return code;
}
