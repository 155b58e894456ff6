package proc

import (
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPaceOfTheDead: when a child is over, its number may be another process's, which is
// left where it is.
func TestPaceOfTheDead(t *testing.T) {
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		other.Process.Kill()
		other.Wait()
	}()
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(other.Process.Pid, &before); err != nil || before.Count() < 2 {
		t.Skip(before.Count(), err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var p pace
	p.pin(&child{pid: other.Process.Pid, dead: true}, true)
	defer p.pin(&child{dead: true}, false)
	if err := unix.SchedGetaffinity(other.Process.Pid, &after); err != nil || after != before {
		t.Errorf("%d processors of %d, %v", after.Count(), before.Count(), err)
	}
}
