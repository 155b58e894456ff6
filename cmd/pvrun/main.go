// Command pvrun builds unikernel images from Go programs and runs them in
// virtual machines.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
