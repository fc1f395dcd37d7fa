// Options that the sanitizers take from the program itself, so that a test run by hand has them
// too. In every test binary; without sanitizers nobody calls these.

extern "C" {

// A view of absurd size must be refused with a message, not by the allocator.
const char* __asan_default_options();  // NOLINT: the sanitizer's name
const char* __asan_default_options() { return "allocator_may_return_null=1"; }  // NOLINT

const char* __ubsan_default_options();                                  // NOLINT
const char* __ubsan_default_options() { return "print_stacktrace=1"; }  // NOLINT

// libomp is not instrumented; Archer (OMP_TOOL_LIBRARIES, set by CTest) tells what it orders.
const char* __tsan_default_options();   // NOLINT
const char* __tsan_default_options() {  // NOLINT
  return "ignore_noninstrumented_modules=1:allocator_may_return_null=1";
}
}
