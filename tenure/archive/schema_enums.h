// tenure/archive/schema_enums.h: the numbers by which the PT2 schema names dtypes, layouts, memory formats and devices, as c10's.
//
// The schema counts differently from c10 (its float32 is 7, c10's is 6), so none of these may be cast.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string>

namespace tenure {

/// Each throws Error(kUnsupported) naming the number when this version does not know it.
at::ScalarType dtype_of_schema(int64_t number);
at::Layout layout_of_schema(int64_t number);
at::MemoryFormat memory_format_of_schema(int64_t number);

/// "cpu", "cuda" with or without an index. Throws Error(kBadFile) for a type that torch does not know or a negative index.
at::Device device_of_schema(const std::string& type, std::optional<int64_t> index);

}  // namespace tenure
