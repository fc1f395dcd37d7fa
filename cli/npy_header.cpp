#include "cli/npy_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

namespace quoin::cli {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxQuoted = 60;  // characters of a header that a message repeats

struct Descr {
  std::string_view text;
  DataType type;
};

// What is read; the first entry of a type is what is written. "<i1" is how the C++ library cnpy
// spells int8.
constexpr Descr kDescrs[] = {
    {"|i1", DataType::int8},    {"<i4", DataType::int32},    {"<f2", DataType::float16},
    {"<f4", DataType::float32}, {"<u2", DataType::bfloat16}, {"<i1", DataType::int8},
};

std::string_view descr_of(DataType type) {
  return std::find_if(std::begin(kDescrs), std::end(kDescrs),
                      [&](const Descr& descr) { return descr.type == type; })
      ->text;
}

// Text from a file, fit for a terminal.
std::string quoted(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, kMaxQuoted)) {
    const bool printable = c >= ' ' && c <= '~';
    shown +=
        printable ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text.size() > kMaxQuoted ? shown + "..." : shown;
}

struct Fields {
  std::optional<std::string_view> descr, fortran_order, shape;  // as they stand, quotes removed
};

// Reads the dict literal token by token. Values keep their text; what they mean is decided later.
class DictReader {
 public:
  explicit DictReader(std::string_view text) noexcept : rest_(text) {}

  // Empty where all went well, else what is wrong.
  std::string read(Fields& fields) {
    if (!take('{')) return unexpected("{");
    while (!take('}')) {
      const std::optional<std::string_view> key = string();
      if (!key) return unexpected("a quoted key or }");
      if (!take(':')) return unexpected(":");
      if (std::string problem = value(*key, fields); !problem.empty()) return problem;
      if (take(',')) continue;
      if (!take('}')) return unexpected(", or }");
      break;
    }
    skip_spaces();
    if (!rest_.empty()) return unexpected("nothing more");
    if (!fields.descr) return "has no key 'descr'";
    if (!fields.fortran_order) return "has no key 'fortran_order'";
    if (!fields.shape) return "has no key 'shape'";
    return {};
  }

 private:
  std::string value(std::string_view key, Fields& fields) {
    std::optional<std::string_view>* field = key == "descr"           ? &fields.descr
                                             : key == "fortran_order" ? &fields.fortran_order
                                             : key == "shape"         ? &fields.shape
                                                                      : nullptr;
    if (field == nullptr) return fmt::format("has an unknown key '{}'", quoted(key));
    if (field->has_value()) return fmt::format("has the key '{}' twice", key);
    skip_spaces();
    if (key == "descr" && rest_.starts_with('[')) return "describes records; save one plain array";
    *field = key == "descr" ? string() : key == "fortran_order" ? word() : parenthesised();
    return field->has_value() ? std::string() : unexpected(fmt::format("a value for '{}'", key));
  }

  void skip_spaces() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
  }

  bool take(char wanted) {
    skip_spaces();
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::string_view take_first(std::size_t count) {
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  // '...' or "...", without escapes: nothing that is read here needs one.
  std::optional<std::string_view> string() {
    skip_spaces();
    if (!rest_.starts_with('\'') && !rest_.starts_with('"')) return {};
    const std::size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) return {};
    const std::string_view text = take_first(end + 1).substr(1, end - 1);
    if (text.find('\\') != std::string_view::npos) return {};
    return text;
  }

  std::optional<std::string_view> word() {
    for (const std::string_view known : {"True", "False"}) {
      if (rest_.starts_with(known)) return take_first(known.size());
    }
    return {};
  }

  std::optional<std::string_view> parenthesised() {
    const std::size_t end = rest_.find(')');
    if (!rest_.starts_with('(') || end == std::string_view::npos) return {};
    return take_first(end + 1).substr(1, end - 1);
  }

  [[nodiscard]] std::string unexpected(std::string_view wanted) const {
    return fmt::format("has '{}' where {} should be", quoted(rest_), wanted);
  }

  std::string_view rest_;
};

std::string_view trimmed(std::string_view text) {
  const std::size_t first = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  text.remove_prefix(first);
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

// "128, 2048" as dimensions; empty where all went well, else what is wrong.
std::string read_shape(std::string_view text, NpyLayout& layout) {
  const std::string shown = fmt::format("shape ({})", quoted(text));
  std::int64_t rank = 0;
  std::string_view rest = trimmed(text);
  while (!rest.empty()) {
    std::int64_t size = 0;
    const char* end = rest.data() + rest.size();
    const auto [stop, code] = std::from_chars(rest.data(), end, size);
    if (code == std::errc::result_out_of_range) {
      return shown + " has a dimension beyond 64 bits";
    }
    if (code != std::errc()) return shown + " is no tuple of integers";
    if (size < 0) return fmt::format("{} has the negative dimension {}", shown, size);
    if (rank < 2) layout.shape[static_cast<std::size_t>(rank)] = size;
    ++rank;
    rest = trimmed(std::string_view(stop, static_cast<std::size_t>(end - stop)));
    const bool comma = rest.starts_with(',');
    if (!rest.empty() && !comma) return shown + " is no tuple of integers";
    if (rest.empty() && rank == 1) return shown + " is no tuple: one dimension is written (3,)";
    if (comma) rest = trimmed(rest.substr(1));
  }
  if (rank == 0 && !trimmed(text).empty()) return shown + " is no tuple of integers";
  if (rank < 1 || rank > 2) {
    return fmt::format("{} has rank {}: vectors and matrices are read, use x.reshape", shown, rank);
  }
  layout.rank = static_cast<int>(rank);
  if (rank == 1) layout.shape[1] = 1;
  return {};
}

// "int8, float16 or float32", the carrier of bfloat16 named as NumPy names it.
std::string list_of(std::span<const DataType> types) {
  std::string text;
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (i > 0) text += i + 1 == types.size() ? " or " : ", ";
    text += types[i] == DataType::bfloat16 ? "uint16 (the bits of bfloat16)"
                                           : std::string(name(types[i]));
  }
  return text;
}

bool contains(std::span<const DataType> types, DataType type) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

// What to do about a descr that is not accepted.
std::string advice(std::string_view descr, std::span<const DataType> accepted) {
  const std::string_view code = descr.empty() ? descr : descr.substr(1);
  if (descr.starts_with('>')) return fmt::format("it is big-endian: x.astype('<{}')", quoted(code));
  if (descr == "|O") return "Python objects are never loaded";
  if (descr == "<V2" || descr == "|V2") {
    return "if it is ml_dtypes.bfloat16, save x.view(numpy.uint16) and say that it is bfloat16";
  }
  if (descr == "<u2" && !contains(accepted, DataType::bfloat16)) {
    return "uint16 is taken for bfloat16 only where an option says so";
  }
  if (contains(accepted, DataType::bfloat16)) {
    return "x.astype(ml_dtypes.bfloat16).view(numpy.uint16), or leave out the option that says "
           "bfloat16";
  }
  if (code.starts_with('f') && accepted.size() == 1 && accepted[0] == DataType::int8) {
    return "`quoin quantize` makes int8 codes of it";
  }
  const bool integer = code.starts_with('i') || code.starts_with('u') || code.starts_with('b');
  DataType target = accepted.empty() ? DataType::float32 : accepted.front();
  if (!integer && contains(accepted, DataType::float32)) target = DataType::float32;
  return fmt::format("convert with x.astype(numpy.{})", name(target));
}

std::string read_type(std::string_view descr, std::span<const DataType> accepted,
                      NpyLayout& layout) {
  for (const Descr& known : kDescrs) {
    if (known.text != descr || !contains(accepted, known.type)) continue;
    layout.type = known.type;
    return {};
  }
  return fmt::format("has dtype {}, but must be {} here: {}", quoted(descr), list_of(accepted),
                     advice(descr, accepted));
}

// Checks that the elements fill the rest of the file exactly.
std::string check_size(std::size_t file_bytes, NpyLayout& layout) {
  const std::string shape = layout.rank == 1
                                ? fmt::format("[{}]", layout.shape[0])
                                : fmt::format("[{}, {}]", layout.shape[0], layout.shape[1]);
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(layout.shape[0], layout.shape[1], &bytes) ||
      __builtin_mul_overflow(bytes, size_of(layout.type), &bytes)) {
    return fmt::format("has shape {}, more bytes than 64 bits count", shape);
  }
  layout.data_bytes = static_cast<std::size_t>(bytes);
  const std::size_t present = file_bytes - layout.data_offset;
  if (present < layout.data_bytes) {
    return fmt::format("is truncated: shape {} needs {} bytes of elements, {} are there", shape,
                       bytes, present);
  }
  if (present > layout.data_bytes) {
    return fmt::format("has {} bytes after the {} that shape {} needs", present - layout.data_bytes,
                       bytes, shape);
  }
  return {};
}

// Finds the header's text; sets where the elements begin.
std::string find_header(std::string_view start, std::size_t file_bytes, NpyLayout& layout,
                        std::string_view& header) {
  if (start.starts_with("PK")) return "is an .npz archive: save one array with numpy.save";
  if (start.empty()) return "is empty";
  const bool cut = start.size() < kMagic.size() && kMagic.starts_with(start);
  if (!start.starts_with(kMagic) && !cut) {
    return fmt::format("is no .npy file: it begins with '{}', not with '\\x93NUMPY'",
                       quoted(start.substr(0, kMagic.size())));
  }
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(start[at]); };
  const std::string truncated = fmt::format("is truncated: {} bytes end in its header", file_bytes);
  if (start.size() < kMagic.size() + 2) return truncated;
  const unsigned major = byte(6);
  const unsigned minor = byte(7);
  if (major < 1 || major > 3 || minor != 0) {
    return fmt::format("has format version {}.{}: 1.0, 2.0 and 3.0 are read", major, minor);
  }
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  const std::size_t header_offset = kMagic.size() + 2 + length_bytes;
  if (start.size() < header_offset) return truncated;
  std::size_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) {
    length |= std::size_t{byte(kMagic.size() + 2 + i)} << (8 * i);
  }
  if (length > kMaxNpyHeader) {
    return fmt::format("has a header of {} bytes; at most {} are read", length, kMaxNpyHeader);
  }
  if (start.size() < header_offset + length) return truncated;
  header = start.substr(header_offset, length);
  layout.data_offset = header_offset + length;
  return {};
}

std::string parse(std::string_view start, std::size_t file_bytes,
                  std::span<const DataType> accepted, NpyLayout& layout) {
  std::string_view header;
  std::string problem = find_header(start, file_bytes, layout, header);
  if (!problem.empty()) return problem;
  Fields fields;
  problem = DictReader(header).read(fields);
  if (!problem.empty()) return "its header " + problem;
  problem = read_type(*fields.descr, accepted, layout);
  if (!problem.empty()) return problem;
  if (*fields.fortran_order == "True") {
    return "is in Fortran order (column by column): save numpy.ascontiguousarray(x)";
  }
  problem = read_shape(*fields.shape, layout);
  if (!problem.empty()) return problem;
  return check_size(file_bytes, layout);
}

}  // namespace

Result<NpyLayout> parse_npy_start(std::span<const std::byte> start, std::size_t file_bytes,
                                  std::string_view file_name, std::span<const DataType> accepted) {
  const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  NpyLayout layout;
  const std::string problem = parse(text, file_bytes, accepted, layout);
  if (problem.empty()) return layout;
  return Error{ErrorCode::invalid_argument, fmt::format("{}: {}", file_name, problem)};
}

Result<NpyLayout> parse_npy(std::span<const std::byte> file, std::string_view file_name,
                            std::span<const DataType> accepted) {
  return parse_npy_start(file, file.size(), file_name, accepted);
}

std::string npy_header(const ConstTensor& tensor) {
  const std::string shape = tensor.rank == 1
                                ? fmt::format("({},)", tensor.shape[0])
                                : fmt::format("({}, {})", tensor.shape[0], tensor.shape[1]);
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}",
                                 descr_of(tensor.type), shape);
  constexpr std::size_t kBeforeDict = kMagic.size() + 4;  // magic, version, length
  constexpr std::size_t kAlignment = 64;
  const std::size_t used = kBeforeDict + dict.size() + 1;
  dict.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  dict += '\n';
  std::string header(kMagic);
  header +=
      {'\x01', '\x00', static_cast<char>(dict.size() & 0xFF), static_cast<char>(dict.size() >> 8)};
  return header + dict;
}

}  // namespace quoin::cli
