package network

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slow has pvrun-net be a script, which leaves its process id in the file.
func slow(t *testing.T, script string) (file string) {
	t.Helper()
	oldHelper, oldPatience := Helper, endPatience
	t.Cleanup(func() { Helper, endPatience = oldHelper, oldPatience })
	endPatience = time.Minute
	path := filepath.Join(t.TempDir(), "slow")
	file = path + ".pid"
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho $$ >"+file+"\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	Helper = func() (string, error) { return path, nil }
	return file
}

// left closes a network, and says whether there still is something of its process.
func left(t *testing.T, l *Link, file string) bool {
	t.Helper()
	var pid int
	eventually(t, "it runs", func() bool {
		text, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	l.Close()
	return pid == 0 || syscall.Kill(pid, 0) == nil // a zombie too
}

// A network of its own that was left is waited for.
func TestReaped(t *testing.T) {
	const joined = `{"joined":{"address":"192.168.127.2/24","gateway":"192.168.127.1","dns":"192.168.127.1","search":"pvrun.internal","mtu":65520}}`
	file := slow(t, "printf '"+joined+"' >&3\ncat <&3 >"+filepath.Join(t.TempDir(), "requests")+"\nsleep 0.3\n")
	l := open(t, Config{Target: Target{Kind: User}, Gone: func(err error) { t.Error(err) }})
	if left(t, l, file) {
		t.Error("its process is still there")
	}
}

// One that has not begun is not waited for: it is ended.
func TestHurried(t *testing.T) {
	file := slow(t, "exec sleep 1000\n")
	if left(t, open(t, Config{Target: Target{Kind: User}}), file) {
		t.Error("its process is still there")
	}
}
