// program INPUTS OUTPUTS [MODEL_DIR] [name=value ...]: reads input-0.npy, ... of [batches, ...] and
// writes output-0.npy, ..., without Python. An output with data-dependent size becomes
// output-0.npz, an archive with an array per batch. The default model folder is the environment's
// MODEL_DIR, or else `model` in the working folder.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "archive.hpp"
#include "network.hpp"

using namespace evenbench;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream stream(file);
  if (!stream)
    throw std::runtime_error(file.string() +
                             " cannot be read; the build writes it beside the program");
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Returns the first existing file in the folder: the file's name depends on the artifact's format.
std::string model_in(const fs::path& folder, const std::string& names) {
  std::stringstream stream(names);
  for (std::string name; std::getline(stream, name, ',');)
    if (fs::exists(folder / name)) return (folder / name).string();
  throw std::runtime_error(folder.string() + " has none of " + names +
                           "; expected the folder of the model");
}

// Returns batch number `at` of an array of batches.
View batch_of(const Array& all, std::size_t at) {
  const std::vector<std::int64_t> shape(all.shape.begin() + 1, all.shape.end());
  const auto bytes = all.data.size() / static_cast<std::size_t>(all.shape.front());
  return {all.name, all.type, shape, all.data.data() + at * bytes, bytes};
}

// Moves the arrays of all batches into a single array [batches, ...].
Array stacked(std::vector<Array> batches) {
  auto result = std::move(batches.front());
  for (std::size_t at = 1; at < batches.size(); ++at) {
    if (batches[at].shape != result.shape)
      throw std::runtime_error("an output differs in shape between batches");
    result.data.insert(result.data.end(), batches[at].data.begin(), batches[at].data.end());
    batches[at] = {};
  }
  result.shape.insert(result.shape.begin(), static_cast<std::int64_t>(batches.size()));
  return result;
}

void run(const fs::path& inputs, const fs::path& outputs, const fs::path& model,
         std::vector<std::string> words) {
  auto lines = lines_of(fs::read_symlink("/proc/self/exe").parent_path() / "options.txt");
  lines.insert(lines.end(), words.begin(), words.end());  // later options override earlier options
  Options options = options_of(lines);
  options.given["model"] = model_in(model, options.at("files"));
  std::vector<Array> given;
  for (int at = 0; options.given.count("input " + std::to_string(at)); ++at) {
    given.push_back(read_npy((inputs / ("input-" + std::to_string(at) + ".npy")).string(),
                             options.at("input " + std::to_string(at))));
    if (given.back().shape.empty() || given.back().shape.front() != given.front().shape.front() ||
        given.back().shape.front() < 1)
      throw std::runtime_error(
          "the arrays in " + inputs.string() +
          " have different numbers of batches; expected [batches, ...] with at least one");
  }
  const auto network = load(options);
  std::vector<std::vector<Array>> collected;  // batches by output
  for (std::size_t at = 0; at < static_cast<std::size_t>(given.at(0).shape.front()); ++at) {
    std::vector<View> batch;
    for (const auto& array : given) batch.push_back(batch_of(array, at));
    network->bind(batch);
    network->step();
    auto fetched = network->fetch();
    collected.resize(fetched.size());
    for (std::size_t place = 0; place < fetched.size(); ++place)
      collected[place].push_back(std::move(fetched[place]));
  }
  fs::create_directories(outputs);
  for (std::size_t place = 0; place < collected.size(); ++place) {
    const auto number = std::to_string(place), file = (outputs / ("output-" + number)).string();
    if (options.given.count("open " + number))
      write_npz(file + ".npz", collected[place]);
    else
      write_npy(file + ".npy", stacked(std::move(collected[place])));
  }
}

}  // namespace

int main(int count, char** words) {
  std::vector<std::string> places, options;
  for (int at = 1; at < count; ++at)
    (std::string(words[at]).find('=') == std::string::npos ? places : options).push_back(words[at]);
  if (places.size() < 2 || places.size() > 3)
    return std::fprintf(stderr, "usage: %s INPUTS OUTPUTS [MODEL_DIR] [name=value ...]\n",
                        words[0]),
           2;
  const char* named = std::getenv("MODEL_DIR");
  const std::string otherwise = named && *named ? named : "model";
  try {
    run(places[0], places[1], places.size() == 3 ? places[2] : otherwise, options);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
  std::puts(places[1].c_str());
  std::fflush(nullptr);
  std::_Exit(0);  // skips the teardown, in which some runtimes hang or crash
}
