// `quoin man`: the manual page, from the same descriptions as --help. The build writes quoin.1
// with it.
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/describe.h"
#include "quoin/device.h"

namespace quoin::cli {
namespace {

// Text that roff prints as it stands.
std::string escaped(std::string_view text) {
  std::string roff = text.starts_with('.') || text.starts_with('\'') ? "\\&" : "";
  for (const char c : text) {
    switch (c) {
      case '\\': roff += "\\e"; break;
      case '-': roff += "\\-"; break;
      case '\'': roff += "\\(aq"; break;
      case '`': roff += "\\(ga"; break;
      case '^': roff += "\\(ha"; break;
      case '~': roff += "\\(ti"; break;
      default: roff += c;
    }
  }
  return roff;
}

std::string bold(std::string_view text) { return "\\fB" + escaped(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + escaped(text) + "\\fR"; }

std::string paragraphs(const std::vector<std::string>& texts) {
  std::string roff;
  for (const std::string& text : texts) roff += ".PP\n" + escaped(text) + "\n";
  return roff;
}

std::string verbatim(const std::vector<std::string>& lines) {
  std::string roff = ".PP\n.RS 4\n.nf\n";
  for (const std::string& line : lines) roff += escaped(line) + "\n";
  return roff + ".fi\n.RE\n";
}

std::string option_list(const std::vector<OptionText>& options) {
  std::string roff;
  for (const OptionText& option : options) {
    std::string heading = option.flags.empty() ? italic(option.name) : "";
    for (const std::string& flag : option.flags) {
      heading += (heading.empty() ? "" : ", ") + bold(flag);
    }
    if (!option.value.empty() && !option.flags.empty()) heading += " " + italic(option.value);
    if (option.required && !option.flags.empty()) heading += " (required)";
    roff += ".TP\n" + heading + "\n" + escaped(option.description) + "\n";
  }
  return roff;
}

std::string command_section(const CommandText& command) {
  std::string roff = fmt::format(".SS {}\n{}\n", bold(command.name), escaped(command.summary));
  roff += verbatim({command.usage}) + paragraphs(command.paragraphs);
  roff += option_list(command.positionals) + option_list(command.options);
  if (command.examples.empty()) return roff;
  return roff + ".PP\nExamples:\n" + verbatim(command.examples);
}

std::string man_page(const CLI::App& app) {
  const CommandText program = describe(app);
  std::string roff = ".\\\" Written by `quoin man`.\n";
  roff += fmt::format(".TH QUOIN 1 \"\" \"quoin {}\" \"User Commands\"\n", version());
  roff += ".SH NAME\nquoin \\- INT8 linear layers on NumPy files\n";
  roff += ".SH SYNOPSIS\n";
  const std::vector<CommandText> commands = describe_subcommands(app);
  for (const CommandText& command : commands) roff += escaped(command.usage) + "\n.br\n";
  roff += ".SH DESCRIPTION\n" + escaped(program.summary) + "\n" + paragraphs(program.paragraphs);
  roff += ".SH OPTIONS\n" + option_list(program.options);
  roff += ".SH COMMANDS\n";
  for (const CommandText& command : commands) roff += command_section(command);
  roff += ".SH EXIT STATUS\n";
  for (const ExitCodeText& exit : kExitCodes) {
    roff += fmt::format(".TP\n{}\n{}\n", bold(std::to_string(exit.code)), escaped(exit.text));
  }
  roff += ".SH ENVIRONMENT\n.TP\n" + bold("QUOIN_BACKEND") + "\n";
  roff += escaped("The backend to use where --backend is not given.") + "\n";
  roff += ".SH EXAMPLES\nQuantise the weights once, then run the layer on float activations:\n";
  return roff + verbatim(program.examples);
}

}  // namespace

void add_man(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "man", "Print the manual page.\nIt is roff, for man -l, and covers every command.");
  command->footer("quoin man > quoin.1 && man -l quoin.1");
  command->callback([&app, &action] {
    action = [&app] {
      fmt::print("{}", man_page(app));
      return kSuccess;
    };
  });
}

}  // namespace quoin::cli
