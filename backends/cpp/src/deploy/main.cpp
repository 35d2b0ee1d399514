// program INPUTS OUTPUTS [MODEL_DIR] [name=value ...]: input-0.npy, ... [batches, ...] in, output-0.npy, ... out. Without Python.
// An output of which only the answer tells how large it is becomes output-0.npz: an archive of one array for each batch.
// The model's folder is the third word, or else the environment's MODEL_DIR, or else `model` in the working folder.
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
  if (!stream) throw std::runtime_error(file.string() + " cannot be read; it is written where the program is built");
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The first of the model's files that is in the folder: which one it is depends on how the artifact was made.
std::string model_in(const fs::path& folder, const std::string& names) {
  std::stringstream stream(names);
  for (std::string name; std::getline(stream, name, ',');)
    if (fs::exists(folder / name)) return (folder / name).string();
  throw std::runtime_error(folder.string() + " has none of " + names + "; expected the folder of the model");
}

// Batch number `at` of an array of batches.
View batch_of(const Array& all, std::size_t at) {
  const std::vector<std::int64_t> shape(all.shape.begin() + 1, all.shape.end());
  const auto bytes = all.data.size() / static_cast<std::size_t>(all.shape.front());
  return {all.name, all.type, shape, all.data.data() + at * bytes, bytes};
}

// The arrays of all batches, which it takes, as one [batches, ...].
Array stacked(std::vector<Array> batches) {
  auto made = std::move(batches.front());
  for (std::size_t at = 1; at < batches.size(); ++at) {
    if (batches[at].shape != made.shape) throw std::runtime_error("outputs of two batches differ in shape");
    made.data.insert(made.data.end(), batches[at].data.begin(), batches[at].data.end());
    batches[at] = {};
  }
  made.shape.insert(made.shape.begin(), static_cast<std::int64_t>(batches.size()));
  return made;
}

void run(const fs::path& inputs, const fs::path& outputs, const fs::path& model, std::vector<std::string> words) {
  auto lines = lines_of(fs::read_symlink("/proc/self/exe").parent_path() / "options.txt");
  lines.insert(lines.end(), words.begin(), words.end());  // later ones count
  Options options = options_of(lines);
  options.given["model"] = model_in(model, options.at("files"));
  std::vector<Array> given;
  for (int at = 0; options.given.count("input " + std::to_string(at)); ++at) {
    given.push_back(read_npy((inputs / ("input-" + std::to_string(at) + ".npy")).string(), options.at("input " + std::to_string(at))));
    if (given.back().shape.empty() || given.back().shape.front() != given.front().shape.front() || given.back().shape.front() < 1)
      throw std::runtime_error("the arrays in " + inputs.string() + " are of different numbers of batches; expected [batches, ...], at least one");
  }
  const auto network = load(options);
  std::vector<std::vector<Array>> made;  // of each output its batches
  for (std::size_t at = 0; at < static_cast<std::size_t>(given.at(0).shape.front()); ++at) {
    std::vector<View> batch;
    for (const auto& array : given) batch.push_back(batch_of(array, at));
    network->bind(batch);
    network->step();
    auto answer = network->fetch();
    made.resize(answer.size());
    for (std::size_t place = 0; place < answer.size(); ++place) made[place].push_back(std::move(answer[place]));
  }
  fs::create_directories(outputs);
  for (std::size_t place = 0; place < made.size(); ++place) {
    const auto number = std::to_string(place), file = (outputs / ("output-" + number)).string();
    if (options.given.count("open " + number)) write_npz(file + ".npz", made[place]);
    else write_npy(file + ".npy", stacked(std::move(made[place])));
  }
}

}  // namespace

int main(int count, char** words) {
  std::vector<std::string> places, options;
  for (int at = 1; at < count; ++at) (std::string(words[at]).find('=') == std::string::npos ? places : options).push_back(words[at]);
  if (places.size() < 2 || places.size() > 3) return std::fprintf(stderr, "usage: %s INPUTS OUTPUTS [MODEL_DIR] [name=value ...]\n", words[0]), 2;
  const char* named = std::getenv("MODEL_DIR");
  const std::string otherwise = named && *named ? named : "model";
  try {
    run(places[0], places[1], places.size() == 3 ? places[2] : otherwise, options);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
  std::puts(places[1].c_str());
  std::fflush(nullptr);
  std::_Exit(0);  // runtimes that hang or crash when they are torn down have given their answer
}
