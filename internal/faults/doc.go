// Package faults proves what kefu promises when things break: every fault of its catalogue is done
// to the real binary, and what came of it is compared with what is expected. It consists of tests
// behind the build tag faults, since they take minutes:
//
//	go test -tags faults -parallel 8 ./internal/faults
//	go test -tags faults -parallel 8 ./internal/faults -timeout 90m -args -full -write
//
// The first is the quick form, as .ci/run runs it. The second is the full form and writes TABLE.md,
// each line with its date: fault, what is expected, what was seen, posts at the API, intents lost,
// possible duplicates. A row whose expected columns are not what was seen fails the test in either
// form.
//
// A row (rows_*_test.go, upstream_*_test.go) breaks something on a stage of its own while its
// intents are on their way. The checker (check_test.go) then looks at the broker and at the
// sandbox's record, which knows every message that the API read:
//
//   - no intent is lost: each has exactly one end, or is still queued;
//   - none was delivered twice but after an unknown outcome, and then its receipt says
//     possible_duplicate.
//
// Storms (storm_*_test.go) do the same to thousands of intents with random kills.
package faults
