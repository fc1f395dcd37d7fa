#include "cli/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "cli/command.h"

namespace quoin::cli {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

// CLI11 tells a set of values only as text behind the type: "NAME:{avx2,portable}".
std::vector<std::string> enumerated(const std::string& type) {
  const std::size_t open = type.find(":{");
  const std::size_t close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return split(type.substr(open + 2, close - open - 2), ',');
}

OptionText describe(const CLI::Option& option) {
  OptionText text;
  for (const std::string& flag : option.get_snames()) text.flags.push_back("-" + flag);
  for (const std::string& flag : option.get_lnames()) text.flags.push_back("--" + flag);
  if (option.get_positional()) text.name = option.get_name(true, false);
  if (option.get_type_size() != 0) {
    const std::string type = option.get_type_name();
    text.value = type.substr(0, type.find(':'));
    text.values = enumerated(type);
    text.open = !text.values.empty() && text.values.back() == kOpenSet;
    if (text.open) text.values.pop_back();
    text.file = text.value == "FILE";
    text.default_value = option.get_default_str();
    if (option.get_delimiter() != '\0') text.value += ",...";
  }
  text.required = option.get_required();
  text.description = option.get_description();
  if (text.values.size() == 1) text.description += " The only value: " + text.values[0] + ".";
  if (text.values.size() > 1 && !text.open) {
    text.description += " One of: " + join(text.values, ", ") + ".";
  }
  if (!text.default_value.empty()) text.description += " Default: " + text.default_value + ".";
  return text;
}

std::string usage_of(const CommandText& command, const CLI::App& app) {
  std::string usage = app.get_parent() == nullptr ? "" : app.get_parent()->get_name() + " ";
  usage += command.name;
  for (const OptionText& option : command.options) {
    if (option.required) usage += fmt::format(" {} {}", option.flags.back(), option.value);
  }
  for (const OptionText& positional : command.positionals) {
    usage += positional.required ? " " + positional.name : " [" + positional.name + "]";
  }
  usage += " [OPTIONS]";
  const bool has_commands = !app.get_subcommands([](const CLI::App*) { return true; }).empty();
  return has_commands ? usage + " COMMAND ..." : usage;
}

std::string heading(const OptionText& option) {
  std::string text = option.flags.empty() ? option.name : join(option.flags, ", ");
  if (!option.value.empty() && !option.flags.empty()) text += " " + option.value;
  return option.required && !option.flags.empty() ? text + "  (required)" : text;
}

std::string section(std::string_view title, const std::vector<OptionText>& options) {
  if (options.empty()) return {};
  std::string text = fmt::format("\n{}:\n", title);
  for (const OptionText& option : options) {
    text += fmt::format("  {}\n{}", heading(option), wrapped(option.description, 6));
  }
  return text;
}

}  // namespace

CommandText describe(const CLI::App& app) {
  CommandText text;
  text.name = app.get_name();
  text.paragraphs = split(app.get_description(), '\n');
  if (!text.paragraphs.empty()) {
    text.summary = text.paragraphs.front();
    text.paragraphs.erase(text.paragraphs.begin());
  }
  for (const CLI::Option* option : app.get_options()) {
    (option->get_positional() ? text.positionals : text.options).push_back(describe(*option));
  }
  // CLI11 adds --help first; readers look for what is particular to the command.
  std::stable_partition(text.options.begin(), text.options.end(),
                        [](const OptionText& option) { return option.flags.back() != "--help"; });
  text.examples = split(app.get_footer(), '\n');
  text.usage = usage_of(text, app);
  return text;
}

std::vector<CommandText> describe_subcommands(const CLI::App& app) {
  std::vector<CommandText> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(describe(*command));
  }
  return commands;
}

std::string first_sentence(const std::string& text) {
  const std::size_t end = text.find(". ");
  return end == std::string::npos ? text : text.substr(0, end + 1);
}

std::string wrapped(std::string_view text, std::size_t indent, std::size_t width) {
  std::string lines;
  std::string line;
  for (const std::string& word : split(std::string(text), ' ')) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) {
      lines += std::string(indent, ' ') + line + "\n";
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  return line.empty() ? lines : lines + std::string(indent, ' ') + line + "\n";
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string /*name*/,
                                     CLI::AppFormatMode /*mode*/) const {
  const CommandText command = describe(*app);
  std::string help = wrapped(command.summary, 0);
  for (const std::string& paragraph : command.paragraphs) help += "\n" + wrapped(paragraph, 0);
  help += "\nUsage:\n" + wrapped(command.usage, 2);
  const std::vector<CommandText> subcommands = describe_subcommands(*app);
  if (!subcommands.empty()) help += "\nCommands:\n";
  for (const CommandText& subcommand : subcommands) {
    const std::string text = wrapped(subcommand.summary, 14);
    help += fmt::format("  {:<12}{}", subcommand.name, text.substr(14));
  }
  help += section("Arguments", command.positionals) + section("Options", command.options);
  if (!command.examples.empty()) help += "\nExamples:\n";
  for (const std::string& line : command.examples) help += "  " + line + "\n";
  if (app->get_parent() == nullptr) {
    help += "\nExit codes:\n";
    for (const ExitCodeText& exit : kExitCodes) {
      help +=
          fmt::format("  {:<4}{}", static_cast<int>(exit.code), wrapped(exit.text, 6).substr(6));
    }
    help += fmt::format("\n`{} COMMAND --help` explains a command, `{} man` prints it all.\n",
                        command.name, command.name);
  }
  return help;
}

}  // namespace quoin::cli
