// Package hypercall is the contract between a pvrun guest and its host: call
// numbers, argument structs, shared pages, the memory layout and the note that
// an image carries. Both sides import it and it imports nothing but unsafe.
//
// Every struct has fixed-width fields, explicit padding and little-endian
// order; sizes and offsets are asserted beside it and recorded in
// testdata/abi.golden. Numbers are never reused: a change raises [Version].
// docs/abi.md is the same contract in prose.
package hypercall
