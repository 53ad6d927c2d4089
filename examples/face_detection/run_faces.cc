// Finds faces with a saved program, without Python.
//
//   run_faces faces.pt2 photo.rgb HEIGHT WIDTH [--library PATH]... [--runs N]
//
// photo.rgb is the bare pixels: HEIGHT * WIDTH * 3 bytes, row by row, red green blue. Each --library is a shared library with
// custom operators that the program calls, opened in the order given. Prints one line of JSON: boxes, scores and landmarks in
// pixels, the milliseconds of each of the N timed runs with their median, and the session's counters.
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "tenure/session/session.h"

namespace {

struct Arguments {
  std::string model, photo;
  int64_t height = 0, width = 0;
  int runs = 20;
  tenure::LoadOptions load;
};

Arguments parse(const std::vector<std::string>& words) {
  const char* usage = "usage: run_faces MODEL.pt2 PHOTO.rgb HEIGHT WIDTH [--library PATH]... [--runs N]";
  if (words.size() < 4 || words.size() % 2 != 0) throw std::invalid_argument(usage);
  Arguments arguments;
  arguments.model = words[0];
  arguments.photo = words[1];
  arguments.height = std::stoll(words[2]);
  arguments.width = std::stoll(words[3]);
  for (size_t i = 4; i < words.size(); i += 2) {
    if (words[i] == "--library") {
      arguments.load.custom_op_libraries.push_back(words[i + 1]);
    } else if (words[i] == "--runs") {
      arguments.runs = std::max(1, std::stoi(words[i + 1]));
    } else {
      throw std::invalid_argument(usage);
    }
  }
  return arguments;
}

/// The photograph as uint8 [height, width, 3].
at::Tensor read_photo(const Arguments& arguments) {
  std::ifstream file(arguments.photo, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (static_cast<int64_t>(bytes.size()) != arguments.height * arguments.width * 3) {
    throw std::invalid_argument(arguments.photo + " holds " + std::to_string(bytes.size()) +
                                " bytes; HEIGHT * WIDTH * 3 are needed");
  }
  at::Tensor photo = at::empty({arguments.height, arguments.width, 3}, at::kByte);
  std::copy(bytes.begin(), bytes.end(), static_cast<char*>(photo.data_ptr()));
  return photo;
}

/// A float32 tensor as nested lists.
nlohmann::json to_json(const at::Tensor& tensor) {
  if (tensor.dim() == 0) return tensor.item<float>();
  nlohmann::json list = nlohmann::json::array();
  for (int64_t i = 0; i < tensor.size(0); ++i) list.push_back(to_json(tensor[i]));
  return list;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

nlohmann::json find_faces(const Arguments& arguments) {
  tenure::Session session(tenure::Program::load(arguments.model, arguments.load));
  const std::vector<at::Tensor> photo = {read_photo(arguments)};
  constexpr int kWarmUpRuns = 3;  // the first observes what the program allocates
  for (int i = 0; i < kWarmUpRuns; ++i) session.run(photo);

  std::vector<double> milliseconds;
  for (int i = 0; i < arguments.runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    session.run(photo);
    milliseconds.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  const tenure::Stats stats = session.stats();
  const std::vector<at::Tensor> faces = session.run(photo);
  const nlohmann::json counts = {{"engine_blocks", stats.engine_blocks},   {"aten_blocks", stats.aten_blocks},
                                 {"standing_bytes", stats.standing_bytes}, {"leased_bytes", stats.leased_bytes},
                                 {"fresh_bytes", stats.fresh_bytes},       {"allocations", stats.last_run_allocations}};
  return {{"boxes", to_json(faces.at(0))}, {"scores", to_json(faces.at(1))}, {"landmarks", to_json(faces.at(2))},
          {"milliseconds", milliseconds},  {"median", median(milliseconds)}, {"counts", counts}};
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::cout << find_faces(parse({argv + 1, argv + argc})).dump() << std::endl;
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::cerr << "run_faces: " << error.what() << std::endl;
    return EXIT_FAILURE;
  }
}
