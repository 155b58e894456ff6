// Package vmtest runs guests in tests: it builds an image once, boots it
// through package hv, compares what the program did with what was expected,
// and checks that nothing of the machine is left. Where there is no KVM the
// tests skip, as package need has it; test packages need a TestMain of its.
package vmtest
