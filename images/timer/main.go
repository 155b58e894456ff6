// Command timer sleeps a millisecond at a time.
package main

import (
	"time"

	"github.com/pvrun/pvrun/images/internal/ops"
)

func main() { ops.Main(sleep) }

func sleep(n int) error {
	for range n {
		time.Sleep(time.Millisecond)
	}
	return nil
}
