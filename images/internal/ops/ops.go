// Package ops is what the programs that `pvrun compare` runs have in common:
// each does one operation as many times as it is told, and says how long that
// took.
package ops

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Main calls do with the number of operations that the program's first
// argument gives, which may be 0, and prints that number and the ns that do
// took as the last line on stdout.
func Main(do func(n int) error) {
	if len(os.Args) < 2 {
		fail("usage: " + os.Args[0] + " OPERATIONS")
	}
	n, err := strconv.Atoi(os.Args[1])
	if err != nil || n < 0 {
		fail(fmt.Sprintf("operations %q: must be a number, 0 or more", os.Args[1]))
	}
	start := time.Now()
	err = do(n)
	took := time.Since(start)
	if err != nil {
		fail(err.Error())
	}
	fmt.Printf("ops=%d ns=%d\n", n, took.Nanoseconds())
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
