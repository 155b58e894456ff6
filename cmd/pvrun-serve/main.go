// Command pvrun-serve is what `pvrun serve` is: functions behind HTTP. It is a program of
// its own so that pvrun does not link what HTTP and metrics need.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
