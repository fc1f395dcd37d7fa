// What the subcommands share: how one registers itself, how it ends, and the options and values
// that several of them take. main.cpp lists the subcommands; each has a file of its own.
#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quoin/result.h"
#include "quoin/tensor.h"

namespace quoin::cli {

enum ExitCode : int { kSuccess = 0, kFailure = 1, kBadInput = 2, kUnavailable = 3 };

struct ExitCodeText {
  ExitCode code;
  std::string_view text;
};

/// For --help and the man page.
inline constexpr std::array<ExitCodeText, 4> kExitCodes = {{
    {kSuccess, "It worked."},
    {kFailure,
     "A check failed (verify found a difference), or memory ran out, or an internal "
     "error."},
    {kBadInput, "Bad usage, a bad value, or a file that cannot be read, written or used."},
    {kUnavailable,
     "Not available on this machine or in this build, for example the backend asked for."},
}};

/// What parsing leaves behind: the job to do, which returns an exit code.
using Action = std::function<int()>;

/// Prints "quoin: <message>" on stderr and returns the exit code that fits.
int report(const Error& error);
int report(const Status& outcome);  // kSuccess, silently, where it is ok

// One per subcommand: adds it to the app; when it is the one on the command line, parsing sets
// `action`.
void add_matmul(CLI::App& app, Action& action);
void add_quantize(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_plan(CLI::App& app, Action& action);
void add_architect(CLI::App& app, Action& action);
void add_devices(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);
void add_man(CLI::App& app, Action& action);

/// The problem y[M, N] = x[M, K] * w[N, K]^T, written "MxNxK".
struct Shape {
  std::int64_t m = 0, n = 0, k = 0;
};

/// "128x2048x2048"; nothing for any other text.
std::optional<Shape> parse_shape(std::string_view text);
std::vector<Shape> parse_shapes(const std::vector<std::string>& checked);

/// "both-absmax", "one-absmax", "true-scales" or a finite decimal number; nothing for other text.
std::optional<float> parse_dequant_factor(const std::string& text);

/// CPUs that this process may use.
int usable_cpus();

// Options with the same meaning everywhere. A file's type name is "FILE": completion goes by it.
CLI::Option* add_file(CLI::App& command, const std::string& flag, std::string& path,
                      const std::string& description);
CLI::Option* add_file(CLI::App& command, const std::string& flag, std::optional<std::string>& path,
                      const std::string& description);
CLI::Option* add_threads(CLI::App& command, int& threads);
CLI::Option* add_backend(CLI::App& command, std::string& backend);
CLI::Option* add_format(CLI::App& command, std::string& format);

// Checks whose messages say what a value must be.
CLI::Validator shape_check();
CLI::Validator factor_check();
CLI::Validator thread_check();
CLI::Validator size_check();
CLI::Validator seconds_check();
std::vector<std::string> backend_names();

}  // namespace quoin::cli
