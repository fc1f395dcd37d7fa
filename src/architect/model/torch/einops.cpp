// einops' rearrange, reduce and repeat: a split into factors, a permutation, a join.
//
//   "b c (h p) (w q) -> b (h w) (p q c)"
//
// Lengths of new letters come from keywords or from what is left of the dimension they are in.
#include <algorithm>
#include <map>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

using Group = std::vector<std::string>;

/// "b (h p) ..." as groups of letters; an ellipsis is a group "...".
std::vector<Group> groups_of(std::string_view side) {
  std::vector<Group> made;
  bool open = false;
  std::string word;
  const auto finish = [&] {
    if (word.empty()) return;
    if (open)
      made.back().push_back(word);
    else
      made.push_back({word});
    word.clear();
  };
  for (const char c : side) {
    if (c == ' ') {
      finish();
    } else if (c == '(') {
      finish();
      made.emplace_back();
      open = true;
    } else if (c == ')') {
      finish();
      open = false;
    } else {
      word.push_back(c);
    }
  }
  finish();
  return made;
}

struct Pattern {
  std::vector<Group> left, right;
  std::map<std::string, std::int64_t> size;
};

bool expand_ellipsis(std::vector<Group>& side, std::size_t count) {
  for (std::size_t i = 0; i < side.size(); ++i) {
    if (side[i] != Group{"..."}) continue;
    side.erase(side.begin() + static_cast<std::ptrdiff_t>(i));
    for (std::size_t d = 0; d < count; ++d) {
      side.insert(side.begin() + static_cast<std::ptrdiff_t>(i + d),
                  Group{"." + std::to_string(d)});
    }
    return true;
  }
  return false;
}

/// Lengths of all letters on the left.
bool measure(Pattern& pattern, const Shape& shape) {
  if (pattern.left.size() != shape.size()) return false;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    std::int64_t known = 1;
    std::string open;
    for (const std::string& letter : pattern.left[d]) {
      if (letter == "1") continue;
      const auto found = pattern.size.find(letter);
      if (found != pattern.size.end())
        known *= found->second;
      else if (open.empty())
        open = letter;
      else
        return false;
    }
    if (!open.empty()) pattern.size[open] = shape[d] / std::max<std::int64_t>(known, 1);
  }
  return true;
}

std::int64_t length_of(const Pattern& pattern, const std::string& letter) {
  const auto found = pattern.size.find(letter);
  return found == pattern.size.end() ? 1 : found->second;
}

bool rearrange(Torch& t, Val& result) {
  const bool reduces = t.call.name == "einops_reduce";
  Val x = t.arg(0, "tensor");
  const std::string_view text = text_of(t.arg(1, "pattern"));
  const std::size_t arrow = text.find("->");
  if (!x.is_tensor() || arrow == text.npos) return false;
  Pattern pattern{groups_of(text.substr(0, arrow)), groups_of(text.substr(arrow + 2)), {}};
  for (const auto& [symbol, value] : t.call.keywords) {
    if (value.is_integer()) pattern.size[std::string(t.in.symbols.text(symbol))] = value.number;
  }
  const Shape shape = t.value(x.tensor()).shape;
  if (pattern.left.size() <= shape.size() + 1) {
    const std::size_t extra = shape.size() + 1 - pattern.left.size();
    if (expand_ellipsis(pattern.left, extra)) expand_ellipsis(pattern.right, extra);
  }
  if (!measure(pattern, shape)) return false;
  std::vector<std::string> letters;  // split
  Shape split;
  for (const Group& group : pattern.left) {
    for (const std::string& letter : group) {
      letters.push_back(letter);
      split.push_back(length_of(pattern, letter));
    }
  }
  x = make_view(t, x.tensor(), split, "rearrange", true);
  Shape order;
  Shape joined;
  std::vector<bool> used(letters.size(), false);
  for (const Group& group : pattern.right) {
    std::int64_t size = 1;
    for (const std::string& letter : group) {
      size *= length_of(pattern, letter);
      const auto place = std::find(letters.begin(), letters.end(), letter);
      if (letter == "1" || place == letters.end()) continue;
      order.push_back(place - letters.begin());
      used[place - letters.begin()] = true;
    }
    joined.push_back(size);
  }
  Shape dropped;
  for (std::size_t d = 0; d < letters.size(); ++d) {
    if (!used[d]) dropped.push_back(static_cast<std::int64_t>(d));
  }
  if (!x.is_tensor()) return false;
  Shape all = order;
  all.insert(all.end(), dropped.begin(), dropped.end());
  x = make_permuted(t, x.tensor(), all, "rearrange");
  if (!dropped.empty() && x.is_tensor()) {
    Shape last;
    for (std::size_t i = 0; i < dropped.size(); ++i)
      last.push_back(static_cast<std::int64_t>(order.size() + i));
    const std::string_view how = reduces ? text_of(t.arg(2, "reduction")) : "squeeze";
    x = make_reduction(t, how.empty() ? "mean" : how, x.tensor(), last, false,
                       t.value(x.tensor()).type);
  }
  if (!x.is_tensor()) return false;
  if (elements_of(joined) !=
      elements_of(t.value(x.tensor()))) {  // repeat: new letters on the right
    const ValueId made = t.rec.make(joined, t.value(x.tensor()).type);
    t.record(OpKind::copy, "repeat", {x.tensor()}, {made});
    result = tensor_val(made);
    return true;
  }
  result = make_view(t, x.tensor(), joined, "rearrange", true);
  return true;
}

constexpr TorchRow kRows[] = {
    {"rearrange", rearrange}, {"einops_reduce", rearrange}, {"einops_repeat", rearrange}};

}  // namespace

std::span<const TorchRow> einops_functions() { return kRows; }

}  // namespace quoin::architect
