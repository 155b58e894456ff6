// Command conformance runs other people's tests in pvrun's machines and beside
// them natively, and writes docs/conformance.md from the difference: the tests
// of the standard library, the programs of $GOROOT/test and the tests of some
// well-known modules.
//
//	make conformance                        everything, for hours; ^C and again goes on
//	make conformance CONFLAGS='-section std -pkgs ^encoding/'
//	make conformance CONFLAGS=-report-only  only the document
//	make sample                             some packages, -short, as CI does
//
// What runs, is timed and is stored at once is a unit: the tests of a package, or
// a program. Every unit has a result for each side, native and here, as a JSON
// file below out/conformance, with a key of all that it depends on. A result whose
// key is no longer right is made again; nothing else is.
//
//	units.go std.go programs.go modules.go   what there is to run
//	event.go round.go campaign.go            from the events of go test to a result
//	command.go gotest.go build.go            running commands
//	result.go store.go                       what is stored
//	classify.go exclusions.go                why a test does not pass
//	compare.go report.go table.go            from results to the document
package main
