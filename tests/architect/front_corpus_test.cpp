// Every document of the corpus beside the repository, where it is there: all are modelled, their
// outputs have the reference's shapes, and it takes no more time than a user notices.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/architect/front_support.h"

namespace quoin::architect::testing {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<fs::path> documents() {
  std::vector<fs::path> found;
  std::error_code error;
  for (const char* folder : {"corpus", "seed"}) {
    for (const auto& entry : fs::directory_iterator(fs::path(QUOIN_SHARED) / folder, error)) {
      const fs::path path = entry.path();
      const bool text = path.extension() == ".md" || path.extension() == ".txt";
      if (text && path.filename() != "README.md") found.push_back(path);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

TEST(Corpus, EveryDocumentIsModelled) {
  const std::vector<fs::path> paths = documents();
  if (paths.empty()) GTEST_SKIP() << "no documents under " << QUOIN_SHARED;
  std::size_t understood = 0, launches = 0, matching = 0;
  std::vector<double> milliseconds;
  for (const fs::path& path : paths) {
    const std::string text = read(path);
    const auto begin = std::chrono::steady_clock::now();
    const auto document = read_document(text);
    ASSERT_TRUE(document.ok()) << path << ": " << document.error().message;
    const Model model = model_of(document.value());
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    milliseconds.push_back(took.count());
    understood += model.not_understood.empty() ? 1 : 0;
    matching += model.outputs_match ? 1 : 0;
    std::size_t own = 0;
    for (const Op& op : model.current.ops) own += op.launch ? 1 : 0;
    launches += own;
    EXPECT_GT(own, 0U) << path;
    EXPECT_TRUE(model.current.complete && model.reference.complete) << path;
    EXPECT_TRUE(model.outputs_match) << path;
    EXPECT_EQ(lost_text(model), "") << path;
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  std::printf(
      "%zu documents, %zu with nothing left out, %zu with the reference's shapes, %zu "
      "launches, %.2f ms at the median, %.2f ms at most\n",
      paths.size(), understood, matching, launches, milliseconds[milliseconds.size() / 2],
      milliseconds.back());
}

// A document cut anywhere is an error or a model, never a crash.
TEST(Corpus, CutDocumentsAreSurvived) {
  const std::vector<fs::path> paths = documents();
  if (paths.empty()) GTEST_SKIP() << "no documents under " << QUOIN_SHARED;
  for (std::size_t i = 0; i < paths.size(); i += 3) {
    const std::string text = read(paths[i]);
    for (std::size_t part = 1; part < 8; ++part) {
      const auto document = read_document(std::string_view(text).substr(0, text.size() * part / 8));
      if (!document.ok()) continue;
      EXPECT_TRUE(model_of(document.value()).current.present) << paths[i];
    }
  }
}

}  // namespace
}  // namespace quoin::architect::testing
