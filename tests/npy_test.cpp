// The .npy reader and writer (cli/npy.h) and files written whole or not at all
// (cli/output_file.h). Malformed files are made from one good file by changing one thing; each
// must be refused with a message that names the file and the offending value.
#include "cli/npy.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cli/npy_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace quoin::cli {
namespace {

namespace fs = std::filesystem;

const std::vector<DataType> kAll = {DataType::int8, DataType::int32, DataType::float16,
                                    DataType::bfloat16, DataType::float32};

// A directory of its own for each test, gone afterwards.
class Npy : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quoin-npy-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  [[nodiscard]] std::string path(const std::string& name) const {
    return (directory_ / name).string();
  }

  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      found.push_back(entry.path().filename().string());
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  fs::path directory_;
};

void save(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A file of format version `major`.`minor` whose header is exactly `dict`.
std::string file_with(const std::string& dict, std::size_t data_bytes, char major = 1,
                      char minor = 0) {
  std::string file = std::string("\x93NUMPY") + major + minor;
  for (std::size_t i = 0; i < (major == 1 ? 2U : 4U); ++i) {
    file += static_cast<char>((dict.size() >> (8 * i)) & 0xFF);
  }
  return file + dict + std::string(data_bytes, '\x11');
}

std::string dict(const std::string& descr, const std::string& shape,
                 const std::string& fortran = "False") {
  return "{'descr': " + descr + ", 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

Result<NpyLayout> parse(const std::string& file, const std::vector<DataType>& accepted = kAll) {
  return parse_npy(std::as_bytes(std::span(file)), "x.npy", accepted);
}

void expect_refused(const std::string& file, const std::string& why,
                    const std::vector<DataType>& accepted = kAll) {
  const Result<NpyLayout> layout = parse(file, accepted);
  ASSERT_FALSE(layout.ok()) << "accepted, but: " << why;
  EXPECT_EQ(layout.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(layout.error().message.rfind("x.npy: ", 0), 0U) << layout.error().message;
  EXPECT_NE(layout.error().message.find(why), std::string::npos) << layout.error().message;
}

TEST_F(Npy, RoundTripsEveryTypeRankAndSize) {
  constexpr std::array<std::array<std::int64_t, 3>, 9> kShapes = {{{1, 0, 1},
                                                                   {1, 1, 1},
                                                                   {1, 37, 1},
                                                                   {2, 0, 0},
                                                                   {2, 0, 5},
                                                                   {2, 5, 0},
                                                                   {2, 1, 1},
                                                                   {2, 7, 1},
                                                                   {2, 5, 33}}};
  for (const DataType type : kAll) {
    for (const auto& [rank, rows, cols] : kShapes) {
      std::vector<std::uint8_t> bytes(static_cast<std::size_t>(rows * cols * size_of(type)));
      for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 89);
      const void* data = bytes.data();
      const ConstTensor tensor =
          rank == 1 ? vector(data, type, rows) : matrix(data, type, rows, cols);
      SCOPED_TRACE(to_string(tensor));
      const Status written = write_npy(path("x.npy"), tensor);
      ASSERT_TRUE(written.ok()) << written.error().message;
      const Result<NpyArray> read = read_npy(path("x.npy"), {type});
      ASSERT_TRUE(read.ok()) << read.error().message;
      EXPECT_EQ(read->tensor.type, type);
      EXPECT_EQ(read->tensor.rank, rank);
      EXPECT_EQ(read->tensor.shape, tensor.shape);
      EXPECT_EQ(read->tensor.strides, tensor.strides);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(read->tensor.data) % 64, 0U);
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(),
                             static_cast<const std::uint8_t*>(read->tensor.data)));
      EXPECT_EQ(names(), std::vector<std::string>{"x.npy"});
    }
  }
}

TEST_F(Npy, WritesRowsThatLieApart) {
  const std::vector<std::int8_t> bytes = {1, 2, 3, 99, 4, 5, 6, 99};
  ASSERT_TRUE(write_npy(path("x.npy"), matrix(bytes.data(), 2, 3, 4)).ok());
  const Result<NpyArray> read = read_npy(path("x.npy"), {DataType::int8});
  ASSERT_TRUE(read.ok()) << read.error().message;
  const auto* first = static_cast<const std::int8_t*>(read->tensor.data);
  EXPECT_EQ(std::vector<std::int8_t>(first, first + 6),
            (std::vector<std::int8_t>{1, 2, 3, 4, 5, 6}));
}

TEST_F(Npy, RefusesToWriteColumnsThatLieApart) {
  const std::vector<std::int8_t> bytes(6);
  Tensor tensor = matrix(const_cast<std::int8_t*>(bytes.data()), 2, 3);
  tensor.strides = {1, 2};
  EXPECT_FALSE(write_npy(path("x.npy"), tensor).ok());
  EXPECT_TRUE(names().empty());
}

TEST(NpyHeader, IsTheOneThatNumPyWrites) {
  const std::string header = npy_header(matrix(static_cast<const float*>(nullptr), 128, 2048));
  std::string expected = "{'descr': '<f4', 'fortran_order': False, 'shape': (128, 2048), }";
  expected.append(128 - 10 - 1 - expected.size(), ' ');
  EXPECT_EQ(header, std::string("\x93NUMPY\x01\x00\x76\x00", 10) + expected + "\n");
  EXPECT_NE(npy_header(vector(static_cast<const float*>(nullptr), 3)).find("'shape': (3,), }"),
            std::string::npos);
}

TEST(NpyParse, ReadsEveryVersionAndSpelling) {
  const std::string plain = dict("'<f4'", "(2, 3)");
  for (const char major : {'\x01', '\x02', '\x03'}) {
    const Result<NpyLayout> layout = parse(file_with(plain, 24, major));
    ASSERT_TRUE(layout.ok()) << layout.error().message;
    EXPECT_EQ(layout->shape, (std::array<std::int64_t, 2>{2, 3}));
    EXPECT_EQ(layout->data_bytes, 24U);
    EXPECT_EQ(layout->data_offset, plain.size() + (major == 1 ? 10 : 12));
  }
  for (const std::string& spelling :
       {std::string("{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}"),
        std::string(
            "{ 'descr' : '<f4' , 'shape' : ( 2 , 3 , ) , 'fortran_order' : False }   \n")}) {
    EXPECT_TRUE(parse(file_with(spelling, 24)).ok()) << spelling;
  }
  const Result<NpyLayout> cnpy = parse(file_with(dict("'<i1'", "(6,)"), 6));
  ASSERT_TRUE(cnpy.ok()) << cnpy.error().message;
  EXPECT_EQ(cnpy->type, DataType::int8);
  EXPECT_EQ(cnpy->rank, 1);
}

TEST(NpyParse, RefusesWhatIsNoNpyFile) {
  expect_refused("", "is empty");
  expect_refused("hello, world", "begins with 'hello,'");
  expect_refused("\x1b[31m\x07 red", "begins with '\\x1b[31m\\x07'");
  expect_refused("PK\x03\x04 zip", ".npz archive");
  expect_refused("\x93NUMPX\x01", "is no .npy file");
  const std::string good = dict("'<f4'", "(2, 3)");
  expect_refused(file_with(good, 24, 1, 1), "version 1.1");
  expect_refused(file_with(good, 24, 4), "version 4.0");
  expect_refused(file_with(good, 24, 0), "version 0.0");
}

TEST(NpyParse, RefusesAFileCutAnywhere) {
  for (const char major : {'\x01', '\x02'}) {
    const std::string whole = file_with(dict("'<f4'", "(2, 3)"), 24, major);
    ASSERT_TRUE(parse(whole).ok());
    for (std::size_t size = 1; size < whole.size(); ++size) {
      SCOPED_TRACE(size);
      // An allocation of exactly these bytes, so that a sanitizer sees a read beyond them.
      const std::vector<std::byte> cut(reinterpret_cast<const std::byte*>(whole.data()),
                                       reinterpret_cast<const std::byte*>(whole.data()) + size);
      const Result<NpyLayout> layout = parse_npy(cut, "x.npy", kAll);
      ASSERT_FALSE(layout.ok());
      EXPECT_NE(layout.error().message.find("is truncated: "), std::string::npos)
          << layout.error().message;
    }
  }
}

TEST(NpyParse, RefusesWrongSizes) {
  expect_refused(file_with(dict("'<f4'", "(2, 3)"), 23),
                 "needs 24 bytes of elements, 23 are there");
  expect_refused(file_with(dict("'<f4'", "(2, 3)"), 25), "1 bytes after the 24");
  expect_refused(file_with(dict("'<f4'", "(0, 3)"), 1), "1 bytes after the 0");
  expect_refused(file_with(dict("'<f4'", "(-2, 3)"), 24), "negative dimension -2");
  expect_refused(file_with(dict("'<f4'", "(2, 99999999999999999999)"), 24), "beyond 64 bits");
  expect_refused(file_with(dict("'<f4'", "(4294967296, 4294967296)"), 24),
                 "[4294967296, 4294967296], more bytes than 64 bits");
  expect_refused(file_with(dict("'<f4'", "(4611686018427387904, 1)"), 24), "more bytes than");
  expect_refused(file_with(dict("'|i1'", "(9223372036854775807,)"), 24),
                 "needs 9223372036854775807 bytes");
}

TEST(NpyParse, RefusesWrongShapes) {
  expect_refused(file_with(dict("'<f4'", "()"), 4), "rank 0");
  expect_refused(file_with(dict("'<f4'", "(2, 3, 4)"), 96), "shape (2, 3, 4) has rank 3");
  expect_refused(file_with(dict("'<f4'", "(6)"), 24), "shape (6) is no tuple");
  for (const char* shape : {"(,)", "(2,,3)", "(2 3)", "(2.0, 3)", "(2, x)", "(0x2, 3)", "(+2, 3)",
                            "(2, 3", "2, 3", "[2, 3]", "None", "", "((2, 3))"}) {
    SCOPED_TRACE(shape);
    EXPECT_FALSE(parse(file_with(dict("'<f4'", shape), 24)).ok());
  }
}

TEST(NpyParse, RefusesWrongTypesWithAdvice) {
  const auto file = [](const std::string& descr) { return file_with(dict(descr, "(2, 3)"), 24); };
  const std::vector<DataType> float_or_codes = {DataType::int8, DataType::float32};
  expect_refused(file("'<f8'"),
                 "dtype <f8, but must be int8 or float32 here: convert with "
                 "x.astype(numpy.float32)",
                 float_or_codes);
  expect_refused(file("'<i8'"), "convert with x.astype(numpy.int8)", float_or_codes);
  expect_refused(file("'|u1'"), "dtype |u1", float_or_codes);
  expect_refused(file("'<f4'"), "`quoin quantize` makes int8 codes", {DataType::int8});
  expect_refused(file("'<u2'"), "only where an option says so", float_or_codes);
  expect_refused(file("'<f4'"), "must be uint16 (the bits of bfloat16)", {DataType::bfloat16});
  expect_refused(file("'<V2'"), "x.view(numpy.uint16)", float_or_codes);
  expect_refused(file("'>f4'"), "big-endian: x.astype('<f4')");
  expect_refused(file("'|O'"), "Python objects");
  expect_refused(file("[('a', '<f4')]"), "describes records");
  expect_refused(file("''"), "has dtype , but");
  expect_refused(file("'<f4\x1b'"), "dtype <f4\\x1b");
  expect_refused(file("'" + std::string(500, 'f') + "'"), "...");
  expect_refused(file_with(dict("'<f4'", "(2, 3)", "True"), 24), "numpy.ascontiguousarray");
}

TEST(NpyParse, RefusesWrongHeaders) {
  for (const auto& [header, why] : std::vector<std::pair<std::string, std::string>>{
           {"", "has '' where { should be"},
           {"{", "a quoted key or }"},
           {"{}", "no key 'descr'"},
           {"{'descr': '<f4'}", "no key 'fortran_order'"},
           {"{'descr': '<f4', 'fortran_order': False}", "no key 'shape'"},
           {"{'descr': '<f4', 'descr': '<f4'}", "'descr' twice"},
           {"{'descr': '<f4', 'extra': 1}", "unknown key 'extra'"},
           {"{'descr' '<f4'}", "where : should be"},
           {"{'descr': '<f4' 'shape': (2, 3)}", "where , or } should be"},
           {"{'descr': '<f4}", "a value for 'descr'"},
           {"{'descr': '<\\x66"
            "4'}",
            "a value for 'descr'"},
           {"{'descr': __import__('os')}", "'__import__('os')}' where a value for 'descr'"},
           {"{'descr': '<f4', 'fortran_order': 0}", "a value for 'fortran_order'"},
           {"{,}", "a quoted key or }"},
           {dict("'<f4'", "(2, 3)") + "x", "'x' where nothing more should be"},
           {dict("'<f4'", "(2, 3)", "Falsely"), "'ly, "}}) {
    expect_refused(file_with(header, 24), why);
  }
}

TEST(NpyParse, RefusesAHugeHeaderWithoutReadingIt) {
  std::string huge = file_with(dict("'<f4'", "(2, 3)"), 24, 2);
  for (std::size_t i = 8; i < 12; ++i) huge[i] = '\xFF';
  expect_refused(huge, "header of 4294967295 bytes");
  const std::string longest = dict("'<f4'", "(2, 3)") + std::string(kMaxNpyHeader, ' ');
  expect_refused(file_with(longest, 24, 2), "at most 65535 are read");
  const std::string fits = longest.substr(0, kMaxNpyHeader);
  EXPECT_TRUE(parse(file_with(fits, 24, 2)).ok());
}

TEST_F(Npy, ReadsAFileWithTheLongestHeader) {
  std::string header = dict("'|i1'", "(5,)");
  header.append(kMaxNpyHeader - header.size(), ' ');
  save(path("x.npy"), file_with(header, 5, 3));
  const Result<NpyArray> read = read_npy(path("x.npy"), {DataType::int8});
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(static_cast<const char*>(read->tensor.data)[4], '\x11');
}

TEST_F(Npy, ReadRefusesWhatIsNoReadableFile) {
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  for (const auto& [name, why] :
       std::vector<std::pair<std::string, std::string>>{{"absent.npy", "No such file"},
                                                        {".", "it is a directory"},
                                                        {"pipe", "no regular file"}}) {
    const Result<NpyArray> read = read_npy(path(name), kAll);
    ASSERT_FALSE(read.ok());
    EXPECT_NE(read.error().message.find(path(name) + ": cannot read: "), std::string::npos);
    EXPECT_NE(read.error().message.find(why), std::string::npos) << read.error().message;
  }
}

// A header that promises 2^62 bytes meets a file of a few: refused before anything is allocated.
TEST_F(Npy, ReadDoesNotBelieveTheHeader) {
  save(path("x.npy"), file_with(dict("'|i1'", "(2147483648, 2147483648)"), 8));
  const Result<NpyArray> read = read_npy(path("x.npy"), kAll);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::invalid_argument);
}

TEST(Allocate, SaysWhatDidNotFit) {
  const Result<NpyArray> y =
      allocate_matrix(DataType::float16, std::int64_t{1} << 40, std::int64_t{1} << 40, "y.npy");
  ASSERT_FALSE(y.ok());
  EXPECT_EQ(y.error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(y.error().message,
            "no machine has the memory for y.npy, float16 [1099511627776, 1099511627776]");
  EXPECT_FALSE(allocate(std::numeric_limits<std::size_t>::max(), "y.npy").ok());
}

TEST_F(Npy, WriteKeepsPermissionsAndFollowsLinks) {
  save(path("real.npy"), "old");
  ASSERT_EQ(chmod(path("real.npy").c_str(), 0640), 0);
  fs::create_symlink("real.npy", path("link.npy"));
  const std::vector<float> values = {1, 2, 3};
  ASSERT_TRUE(write_npy(path("link.npy"), vector(values.data(), 3)).ok());
  EXPECT_TRUE(fs::is_symlink(path("link.npy")));
  EXPECT_TRUE(read_npy(path("real.npy"), {DataType::float32}).ok());
  struct stat status {};
  ASSERT_EQ(stat(path("real.npy").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);
}

TEST_F(Npy, WriteRefusesWhatIsNoRegularFile) {
  const std::vector<float> values = {1, 2, 3};
  const ConstTensor tensor = vector(values.data(), 3);
  fs::create_directory(path("directory"));
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  for (const std::string& target : {path("directory"), path("pipe"), std::string(),
                                    path("absent/y.npy"), path(std::string(300, 'y'))}) {
    SCOPED_TRACE(target);
    EXPECT_FALSE(write_npy(target, tensor).ok());
    EXPECT_EQ(names(), (std::vector<std::string>{"directory", "pipe"}));
  }
  EXPECT_TRUE(fs::is_fifo(path("pipe")));
}

// The limit on a file's size stands in for a full disk.
TEST_F(Npy, AWriteThatFailsLeavesWhatWasThere) {
  const std::vector<float> values(100'000);
  const ConstTensor tensor = vector(values.data(), 100'000);
  save(path("old.npy"), "old");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status to_new = write_npy(path("new.npy"), tensor);
  const Status to_old = write_npy(path("old.npy"), tensor);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(to_new.ok());
  ASSERT_FALSE(to_old.ok());
  EXPECT_NE(to_new.error().message.find("new.npy: cannot write: "), std::string::npos);
  EXPECT_EQ(names(), std::vector<std::string>{"old.npy"});
  EXPECT_EQ(load(path("old.npy")), "old");
}

class TwoFiles : public Npy {
 protected:
  // Both written and finished, under their temporary names.
  std::array<OutputFile, 2> staged(const std::string& first, const std::string& second) {
    Result<OutputFile> a = stage_npy(path(first), vector(values_.data(), 3));
    Result<OutputFile> b = stage_npy(path(second), vector(values_.data(), 2));
    EXPECT_TRUE(a.ok() && b.ok());
    return {std::move(a).value(), std::move(b).value()};
  }

  std::vector<float> values_ = {1, 2, 3};
};

TEST_F(TwoFiles, AppearTogether) {
  save(path("a.npy"), "old");
  {
    std::array<OutputFile, 2> files = staged("a.npy", "b.npy");
    EXPECT_EQ(load(path("a.npy")), "old");
    EXPECT_FALSE(fs::exists(path("b.npy")));
    const Status done = OutputFile::publish(files);
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  EXPECT_EQ(names(), (std::vector<std::string>{"a.npy", "b.npy"}));
  EXPECT_TRUE(read_npy(path("a.npy"), {DataType::float32}).ok());
  EXPECT_TRUE(read_npy(path("b.npy"), {DataType::float32}).ok());
}

TEST_F(TwoFiles, AreGoneTogetherWhereNeitherIsPublished) {
  { (void)staged("a.npy", "b.npy"); }
  EXPECT_TRUE(names().empty());
}

TEST_F(TwoFiles, ComeBackWhereTheSecondFails) {
  for (const bool first_exists : {true, false}) {
    SCOPED_TRACE(first_exists);
    if (first_exists) save(path("a.npy"), "old");
    {
      std::array<OutputFile, 2> files = staged("a.npy", "b.npy");
      fs::create_directory(path("b.npy"));  // a file cannot take a directory's name
      const Status done = OutputFile::publish(files);
      ASSERT_FALSE(done.ok());
      EXPECT_NE(done.error().message.find("b.npy: cannot give it its name"), std::string::npos);
    }
    fs::remove(path("b.npy"));
    EXPECT_EQ(names(),
              first_exists ? std::vector<std::string>{"a.npy"} : std::vector<std::string>{});
    EXPECT_EQ(load(path("a.npy")), first_exists ? "old" : "");
    fs::remove(path("a.npy"));
  }
}

TEST_F(TwoFiles, MustDiffer) {
  for (const char* second : {"a.npy", "./a.npy", "link.npy"}) {
    SCOPED_TRACE(second);
    save(path("a.npy"), "old");
    if (!fs::exists(path("link.npy"))) fs::create_symlink("a.npy", path("link.npy"));
    std::array<OutputFile, 2> files = staged("a.npy", second);
    const Status done = OutputFile::publish(files);
    ASSERT_FALSE(done.ok());
    EXPECT_NE(done.error().message.find("named for two outputs"), std::string::npos);
    EXPECT_EQ(load(path("a.npy")), "old");
  }
}

TEST(NpyFuzz, ReplaysTheCorpus) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(QUOIN_NPY_CORPUS)) {
    SCOPED_TRACE(entry.path());
    const std::string bytes = load(entry.path().string());
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ++files;
  }
  EXPECT_GE(files, 15);
}

}  // namespace
}  // namespace quoin::cli
