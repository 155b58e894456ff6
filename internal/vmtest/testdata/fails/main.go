// Command fails does what a test would not expect.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("something else")
	fmt.Fprintln(os.Stderr, "and an error")
	os.Exit(3)
}
