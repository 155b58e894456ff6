package fails

import (
	"os"
	"testing"
)

func TestFails(t *testing.T) {
	t.Error("it fails")
	t.Run("sub", func(t *testing.T) { t.Fatal("so does a subtest") })
}

func TestPasses(*testing.T) {}

func TestPanics(*testing.T) {
	if os.Getenv("PANIC") != "" {
		panic("it panics")
	}
}

func TestExits(*testing.T) {
	if os.Getenv("EXIT") != "" {
		os.Exit(3)
	}
}
