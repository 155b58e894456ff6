package hv

import (
	"bytes"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// TestSuspendDrains asks a guest with 32 requests under way to come to rest, some
// times: it waits for the answers first, and the program loses none of them.
func TestSuspendDrains(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	need.KVM(t)
	need.Count(1)
	img := guestImage(t, "../images", "blk")
	asked := make(chan struct{}, 1)
	d := disk.Inject(disk.NewMemory(1<<20), func(disk.Op, int64, int64) error {
		select {
		case asked <- struct{}{}:
		default:
		}
		time.Sleep(2 * time.Millisecond)
		return nil
	})
	var out bytes.Buffer
	vm, err := New(Config{Image: img, Args: []string{"blk", "2000", "read", "4096", "32"}, Stdout: &out, Disks: []Disk{{Backend: d}}})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	ended := make(chan struct{})
	go func() {
		for range 10 {
			select {
			case <-asked:
				vm.raise(hypercall.EventSuspend)
			case <-ended:
				return
			}
		}
	}()
	exit, err := runFor(vm, 30*time.Second)
	close(ended)
	if err != nil || exit != (Exit{}) || !bytes.HasPrefix(out.Bytes(), []byte("ops=2000 ")) {
		t.Fatalf("exit %+v, error %v, output %q", exit, err, &out)
	}
	if n := vm.stats.reasons[callReason(hypercall.CallSuspend)].n; n == 0 {
		t.Error("no suspend call")
	}
}
