package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/build"
)

// TestUntilSignal ends a context with a signal, which becomes its cause.
func TestUntilSignal(t *testing.T) {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the signal has no effect")
	}
	var sig signalError
	if !errors.As(context.Cause(ctx), &sig) || sig.Signal != syscall.SIGTERM {
		t.Errorf("got cause %v", context.Cause(ctx))
	}
}

// TestBuildSignal interrupts a go command that takes long.
func TestBuildSignal(t *testing.T) {
	dir := t.TempDir()
	slow := "#!/bin/sh\ntouch " + dir + "/started\nsleep 60\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(slow), 0o755); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
				syscall.Kill(os.Getpid(), syscall.SIGTERM)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	begin := time.Now()
	_, err := buildImage(context.Background(), build.Config{Dir: dir, GoCommand: filepath.Join(dir, "go"), CacheDir: dir})
	if code := exitCode(err); code != 143 || time.Since(begin) > 30*time.Second {
		t.Errorf("exit code %d after %v: %v", code, time.Since(begin), err)
	}
}
