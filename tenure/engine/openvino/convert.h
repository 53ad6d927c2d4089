// tenure/engine/openvino/convert.h: between the vocabulary of PyTorch and Tenure and that of OpenVINO.
#pragma once

#include <ATen/core/Tensor.h>

#include <exception>
#include <openvino/runtime/tensor.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "tenure/base/error.h"

namespace tenure::openvino {

/// Throws Error(kUnsupported) for a dtype that OpenVINO's CPU plugin does not have or computes in another precision (float64).
ov::element::Type to_element_type(at::ScalarType dtype);

/// The tensor's memory as an ov::Tensor, without a copy: `tensor` stays its owner. It must be contiguous, on the CPU.
ov::Tensor wrap(const at::Tensor& tensor, const void* data, ov::element::Type type);

/// What OpenVINO's exception says, on one line, without the places in its source.
std::string summary(std::string_view what);

/// Runs `body`. What OpenVINO throws becomes an Error(kEngine): `OpenVINO could not <describe()>: <what it says>`.
template <typename Describe, typename Body>
decltype(auto) guarded(const Describe& describe, const Body& body) {
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kEngine, concat("OpenVINO could not ", describe(), ": ", summary(error.what())));
  }
}

}  // namespace tenure::openvino
