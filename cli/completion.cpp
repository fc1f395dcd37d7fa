// `quoin completion`: completion scripts, from the same descriptions as --help, so that they offer
// exactly the commands, options and values that this program has. Options for files complete files.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/describe.h"

namespace quoin::cli {
namespace {

std::string words(const std::vector<std::string>& list) {
  return fmt::format("{}", fmt::join(list, " "));
}

std::vector<std::string> flags_of(const CommandText& command) {
  std::vector<std::string> flags;
  for (const OptionText& option : command.options) {
    flags.insert(flags.end(), option.flags.begin(), option.flags.end());
  }
  return flags;
}

std::vector<std::string> positional_values_of(const CommandText& command) {
  std::vector<std::string> values;
  for (const OptionText& positional : command.positionals) {
    values.insert(values.end(), positional.values.begin(), positional.values.end());
  }
  return values;
}

// `text` with `escape` before each of `special`.
std::string escaped(std::string_view text, std::string_view special, std::string_view escape) {
  std::string result;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) result += escape;
    result += c;
  }
  return result;
}

// Inside single quotes of zsh, where a quote is spelled '\''.
std::string in_zsh_quotes(std::string_view text) {
  std::string result;
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result;
}

std::string in_fish_quotes(std::string_view text) { return escaped(text, "\\'", "\\"); }

std::string bash_values(const CommandText& command) {
  std::string script;
  for (const OptionText& option : command.options) {
    if (option.value.empty()) continue;  // a switch
    for (const std::string& flag : option.flags) {
      const std::string action = option.file ? "_quoin_files; return"
                                             : fmt::format("choices=\"{}\"", words(option.values));
      script += fmt::format("        \"{} {}\") {} ;;\n", command.name, flag, action);
    }
  }
  return script;
}

std::string bash(const CommandText& program, const std::vector<CommandText>& commands) {
  std::vector<std::string> first = flags_of(program);
  std::string values;
  std::string choices;
  for (const CommandText& command : commands) {
    first.push_back(command.name);
    values += bash_values(command);
    std::vector<std::string> offered = flags_of(command);
    const std::vector<std::string> positional = positional_values_of(command);
    offered.insert(offered.end(), positional.begin(), positional.end());
    choices += fmt::format("            {}) choices=\"{}\" ;;\n", command.name, words(offered));
  }
  return fmt::format(
      R"(# bash completion for quoin, written by `quoin completion bash`
_quoin_files() {{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
}}

_quoin() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" choices
    # "--flag=value" arrives as three words.
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $previous == "=" ]]; then
        previous="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    case "${{COMP_WORDS[1]}} $previous" in
{}        *) case "${{COMP_WORDS[1]}}" in
{}        esac ;;
    esac
    if [[ $COMP_CWORD -eq 1 ]]; then
        choices="{}"
    fi
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}}
complete -F _quoin quoin
)",
      values, choices, words(first));
}

// What may stand for a value: files, one of a set, or (a blank) nothing that could be offered.
std::string zsh_value(const std::string& label, const OptionText& option) {
  const std::string action = option.file             ? "_files"
                             : option.values.empty() ? " "
                                                     : "(" + words(option.values) + ")";
  return ":" + label + ":" + action;
}

std::string zsh_option(const OptionText& option) {
  const std::string text = escaped(first_sentence(option.description), "\\[]:", "\\");
  const std::string value = option.value.empty() ? "" : zsh_value(option.value, option);
  std::string specs;
  for (const std::string& flag : option.flags) {
    const bool long_with_value = flag.starts_with("--") && !value.empty();
    specs += fmt::format(" \\\n            '{}{}[{}]{}'", flag, long_with_value ? "=" : "",
                         in_zsh_quotes(text), in_zsh_quotes(value));
  }
  return specs;
}

std::string zsh_options(const CommandText& command) {
  std::string specs;
  for (const OptionText& option : command.options) specs += zsh_option(option);
  for (const OptionText& positional : command.positionals) {
    specs += " \\\n            '" + zsh_value(positional.name, positional) + "'";
  }
  return specs;
}

std::string zsh(const CommandText& program, const std::vector<CommandText>& commands) {
  std::string names;
  std::string cases;
  for (const CommandText& command : commands) {
    names += fmt::format("            '{}:{}'\n", command.name,
                         in_zsh_quotes(escaped(command.summary, "\\:", "\\")));
    cases += fmt::format("        {}) _arguments{} ;;\n", command.name, zsh_options(command));
  }
  return fmt::format(
      R"(#compdef quoin
# zsh completion for quoin, written by `quoin completion zsh`
_quoin() {{
    local context state state_descr line
    typeset -A opt_args
    _arguments -C{} \
            '1:command:->command' '*::argument:->argument'
    case $state in
    command)
        local -a commands=(
{}        )
        _describe -t commands 'command' commands ;;
    argument)
        case $words[1] in
{}        esac ;;
    esac
}}
if [[ $funcstack[1] == _quoin ]]; then
    _quoin "$@"
else
    compdef _quoin quoin
fi
)",
      zsh_options(program), names, cases);
}

std::string fish_option(const OptionText& option, const std::string& condition) {
  std::string line = "complete -c quoin -n '" + condition + "'";
  for (const std::string& flag : option.flags) {
    const bool is_long = flag.starts_with("--");
    line += (is_long ? " -l " : " -s ") + flag.substr(is_long ? 2 : 1);
  }
  if (option.file) line += " -r -F";
  if (!option.file && !option.value.empty()) {
    line += option.values.empty() ? " -x" : fmt::format(" -x -a '{}'", words(option.values));
  }
  return line + fmt::format(" -d '{}'\n", in_fish_quotes(first_sentence(option.description)));
}

std::string fish(const CommandText& program, const std::vector<CommandText>& commands) {
  std::string script = "# fish completion for quoin, written by `quoin completion fish`\n";
  script += "complete -c quoin -f\n";
  const std::string nothing_yet = "__fish_use_subcommand";
  for (const OptionText& option : program.options) script += fish_option(option, nothing_yet);
  for (const CommandText& command : commands) {
    script += fmt::format("complete -c quoin -n '{}' -a {} -d '{}'\n", nothing_yet, command.name,
                          in_fish_quotes(command.summary));
    const std::string condition = "__fish_seen_subcommand_from " + command.name;
    for (const OptionText& option : command.options) script += fish_option(option, condition);
    const std::vector<std::string> values = positional_values_of(command);
    if (values.empty()) continue;
    script += fmt::format("complete -c quoin -n '{}' -a '{}'\n", condition, words(values));
  }
  return script;
}

}  // namespace

void add_completion(CLI::App& app, Action& action) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "completion",
      "Print a completion script for a shell.\n"
      "For bash, `quoin completion bash > ~/.local/share/bash-completion/completions/quoin`; for "
      "zsh, a file named _quoin in a directory of $fpath; for fish, "
      "~/.config/fish/completions/quoin.fish.");
  command->add_option("SHELL", *shell, "The shell.")
      ->required()
      ->type_name("NAME")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer("source <(quoin completion bash)");
  command->callback([shell, &app, &action] {
    action = [shell, &app] {
      const CommandText program = describe(app);
      const std::vector<CommandText> commands = describe_subcommands(app);
      fmt::print("{}", *shell == "bash"  ? bash(program, commands)
                       : *shell == "zsh" ? zsh(program, commands)
                                         : fish(program, commands));
      return kSuccess;
    };
  });
}

}  // namespace quoin::cli
