// The command line described once, for --help, the man page and shell completion alike: what the
// CLI11 app knows of its options, as plain values, and the text layout that --help uses.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace quoin::cli {

/// Ends a set of values, in a validator's description, that is not all that the option takes:
/// "{both-absmax,true-scales,...}". The option's own description then explains them.
inline constexpr std::string_view kOpenSet = "...";

struct OptionText {
  std::vector<std::string> flags;   // "-h", "--help"; empty for a positional
  std::string name;                 // of a positional, "M" say
  std::string value;                // what stands for its value: "FILE"; empty for a switch
  std::vector<std::string> values;  // the values it takes, where they are enumerated
  bool open = false;                // whether it takes others too
  std::string default_value;        // empty where there is none
  std::string description;          // with the enumerated values and the default spelled out
  bool required = false;
  bool file = false;
};

struct CommandText {
  std::string name;                     // "matmul"
  std::string usage;                    // "quoin matmul --x FILE ... [OPTIONS]"
  std::string summary;                  // the description's first line
  std::vector<std::string> paragraphs;  // its other lines
  std::vector<OptionText> positionals, options;
  std::vector<std::string> examples;  // lines of the footer
};

CommandText describe(const CLI::App& app);

/// The app's subcommands in the order in which they were added.
std::vector<CommandText> describe_subcommands(const CLI::App& app);

/// "Type of y." out of "Type of y. Default: float16."
std::string first_sentence(const std::string& text);

/// Text in lines of at most `width` characters, each indented by `indent`, with a newline at the
/// end. Words longer than a line stand alone.
std::string wrapped(std::string_view text, std::size_t indent, std::size_t width = 80);

/// --help: descriptions wrapped below each option instead of running off to the right beside it.
class HelpFormatter : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
};

}  // namespace quoin::cli
