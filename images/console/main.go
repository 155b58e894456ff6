// Command console prints lines of 80 bytes.
package main

import (
	"fmt"
	"strings"

	"github.com/pvrun/pvrun/images/internal/ops"
)

func main() { ops.Main(lines) }

// lines prints n lines, each with a write of its own: Go's stdout has no
// buffer.
func lines(n int) error {
	rest := strings.Repeat(".", 64)
	for i := range n {
		if _, err := fmt.Printf("line %9d %s\n", i, rest); err != nil {
			return err
		}
	}
	return nil
}
