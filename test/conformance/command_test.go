package main

import (
	"testing"
	"time"
)

// TestQuiet: a command that has spoken and then falls silent is told to end; one
// that has not yet spoken is not.
func TestQuiet(t *testing.T) {
	c := command{limit: time.Minute, quiet: 50 * time.Millisecond, args: []string{"sh", "-c", "echo x; exec sleep 50"}}
	end, err := c.run(t.Context(), func([]byte) {})
	if err != nil || end.code != -1 || end.expired {
		t.Errorf("got %+v, %v", end, err)
	}
	c.args[2] = "sleep 1; echo x"
	if end, err := c.run(t.Context(), func([]byte) {}); err != nil || end.code != 0 {
		t.Errorf("got %+v, %v", end, err)
	}
}
