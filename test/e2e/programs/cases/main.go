// Command cases does one thing for each test: cases NAME [args...]. What a
// case prints is the same on Linux and in a machine, unless the test says
// otherwise.
package main

import (
	"fmt"
	"os"
	"runtime"
)

var cases = map[string]func(args []string){}

// add names a case; each file adds its own.
func add(name string, f func(args []string)) bool {
	cases[name] = f
	return true
}

func main() {
	if len(os.Args) < 2 || cases[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "cases: no such case")
		os.Exit(99)
	}
	cases[os.Args[1]](os.Args[2:])
}

// check prints a line for an error that should not be, with its place.
func check(err error) {
	if err == nil {
		return
	}
	_, file, line, _ := runtime.Caller(1)
	fmt.Printf("%s:%d: %v\n", file, line, err)
}

// must is check for a call with a result.
func must[T any](v T, err error) T {
	if err != nil {
		_, file, line, _ := runtime.Caller(1)
		fmt.Printf("%s:%d: %v\n", file, line, err)
	}
	return v
}
