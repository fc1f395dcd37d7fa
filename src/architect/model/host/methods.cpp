// Methods of Python's own containers and strings.
#include <algorithm>
#include <cctype>

#include "architect/model/host/arithmetic.h"
#include "architect/model/host/interpreter.h"

namespace quoin::architect {
namespace {

constexpr std::size_t kMaxListItems = 200'000;

}  // namespace

bool call_list_method(Interpreter& interpreter, const Val& receiver, std::string_view name,
                      Call& call, Val& result) {
  auto& items = items_of(receiver);
  const Val first = call.positional.empty() ? unknown_val() : call.positional[0];
  result = null_val();
  if (items.size() > kMaxListItems) return false;
  if (name == "append" || name == "add" || name == "appendleft") {
    items.push_back(first);
    interpreter.note_append(&as<SequenceObject>(receiver), first);
  } else if (name == "extend" || name == "update") {
    std::vector<Val> more;
    if (!interpreter.iterate(first, more)) return false;
    for (const Val& value : more) {
      items.push_back(value);
      interpreter.note_append(&as<SequenceObject>(receiver), value);
    }
  } else if (name == "insert" && call.positional.size() == 2) {
    const auto size = static_cast<std::int64_t>(items.size());
    const std::int64_t at =
        std::clamp<std::int64_t>(first.number < 0 ? first.number + size : first.number, 0, size);
    items.insert(items.begin() + at, call.positional[1]);
  } else if (name == "pop") {
    if (items.empty()) return false;
    const auto size = static_cast<std::int64_t>(items.size());
    std::int64_t at = first.is_integer() ? first.number : -1;
    if (at < 0) at += size;
    if (at < 0 || at >= size) return false;
    result = items[at];
    items.erase(items.begin() + at);
  } else if (name == "reverse")
    std::reverse(items.begin(), items.end());
  else if (name == "sort")
    return true;
  else if (name == "copy")
    result = interpreter.sequence(receiver.kind, items);
  else if (name == "clear")
    items.clear();
  else if (name == "index") {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (equal_values(items[i], first) == 1) {
        result = int_val(static_cast<std::int64_t>(i));
        return true;
      }
    }
    return false;
  } else if (name == "count") {
    result = int_val(std::count_if(items.begin(), items.end(), [&](const Val& value) {
      return equal_values(value, first) == 1;
    }));
  } else if (name == "numel") {  // torch.Size
    result = int_val(1);
    for (const Val& value : items) result = binary_number(Operator::multiply, result, value);
  } else {
    return false;
  }
  return true;
}

bool call_dict_method(Interpreter& interpreter, const Val& receiver, std::string_view name,
                      Call& call, Val& result) {
  auto& items = as<DictObject>(receiver).items;
  const Val first = call.positional.empty() ? unknown_val() : call.positional[0];
  std::vector<Val> made;
  if (name == "keys" || name == "values" || name == "items") {
    for (const auto& [key, value] : items) {
      made.push_back(name == "keys"     ? key
                     : name == "values" ? value
                                        : interpreter.tuple({key, value}));
    }
    result = interpreter.list(std::move(made));
  } else if (name == "get" || name == "pop" || name == "setdefault") {
    result = interpreter.item(receiver, first);
    if (!result.known()) result = call.positional.size() > 1 ? call.positional[1] : null_val();
  } else if (name == "update") {
    if (first.is(ValKind::dict)) {
      for (const auto& [key, value] : std::vector(as<DictObject>(first).items)) {
        interpreter.set_item(receiver, key, value);
      }
    }
    for (const auto& [symbol, value] : call.keywords) {
      interpreter.set_item(receiver, interpreter.string(interpreter.symbols.text(symbol)), value);
    }
    result = null_val();
  } else if (name == "copy") {
    result = interpreter.dict();
    as<DictObject>(result).items = items;
  } else {
    return false;
  }
  return true;
}

bool call_string_method(Interpreter& interpreter, const Val& receiver, std::string_view name,
                        Call& call, Val& result) {
  const std::string_view text = text_of(receiver);
  const Val first = call.positional.empty() ? unknown_val() : call.positional[0];
  if (name == "lower" || name == "upper") {
    std::string made(text);
    for (char& c : made) {
      const auto byte = static_cast<unsigned char>(c);
      c = static_cast<char>(name == "lower" ? std::tolower(byte) : std::toupper(byte));
    }
    result = interpreter.string(made);
  } else if (name == "startswith")
    result = bool_val(text.starts_with(text_of(first)));
  else if (name == "endswith")
    result = bool_val(text.ends_with(text_of(first)));
  else if (name == "format" || name == "strip" || name == "join")
    result = receiver;
  else if (name == "split") {
    std::vector<Val> parts;
    const std::string separator(first.is(ValKind::string) ? text_of(first) : " ");
    std::size_t begin = 0;
    while (!separator.empty() && begin <= text.size()) {
      const std::size_t end = std::min(text.find(separator, begin), text.size());
      parts.push_back(interpreter.string(text.substr(begin, end - begin)));
      begin = end + separator.size();
    }
    result = interpreter.list(std::move(parts));
  } else if (name == "replace" && call.positional.size() == 2) {
    std::string made(text);
    const std::string_view from = text_of(first);
    const std::string_view to = text_of(call.positional[1]);
    for (std::size_t at = 0; !from.empty() && (at = made.find(from, at)) != made.npos;
         at += to.size()) {
      made.replace(at, from.size(), to);
      if (made.size() > 100'000) break;
    }
    result = interpreter.string(made);
  } else {
    return false;
  }
  return true;
}

}  // namespace quoin::architect
