package worker

import (
	"os"
	"testing"

	"github.com/pvrun/pvrun/internal/need"
)

// A worker of a test is the test's binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == Command {
		if how := os.Getenv(envBad); how != "" {
			os.Exit(bad(how))
		}
		os.Exit(Main())
	}
	os.Exit(need.Main(m))
}
