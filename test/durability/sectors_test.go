package durability

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/durability/stamps"
)

// writers is how many goroutines write sectors.
const writers = 8

// A file in a folder of the host's has every operation that was acknowledged as
// synced, and no torn sector.
func TestKilledFile(t *testing.T) {
	need.KVM(t)
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sectors")
	killSectors(t, file, "/host/sectors", "-v", filepath.Dir(file)+":/host")
}

// And so has a disk, whose sectors exist from the beginning.
func TestKilledDisk(t *testing.T) {
	need.KVM(t)
	t.Parallel()
	file := filepath.Join(t.TempDir(), "disk")
	size := stamps.Offset(writers, 0)
	if err := os.WriteFile(file, make([]byte, size), 0o666); err != nil {
		t.Fatal(err)
	}
	killSectors(t, file, "/dev/vda", "--disk", file)
}

// killSectors ends machines that write to path, which is a file of the host's.
func killSectors(t *testing.T, file, path string, flags ...string) {
	t.Logf("seed %d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 2))
	var acked [writers]uint64
	for n := range *kills {
		cmd := machine(t, "stamper", flags, path, strconv.Itoa(writers))
		end(t, cmd, moments(rng), true, func(line string) {
			var w, op uint64
			if _, err := fmt.Sscanf(line, "synced %d %d", &w, &op); err != nil || w >= writers {
				t.Fatalf("got %q: %v", line, err)
			}
			acked[w] = max(acked[w], op)
		})
		checkSectors(t, file, &acked)
		if t.Failed() {
			t.Fatalf("after %d of %d", n+1, *kills)
		}
	}
	t.Logf("ended %d times, operations of each writer: %d", *kills, acked)
}

func checkSectors(t *testing.T, file string, acked *[writers]uint64) {
	t.Helper()
	f, err := os.Open(file)
	if os.IsNotExist(err) && *acked == [writers]uint64{} {
		return // the machine had not come so far
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for w := range uint64(writers) {
		region := make([]byte, stamps.RegionSectors*stamps.Sector)
		f.ReadAt(region, stamps.Offset(w, 0)) // what is beyond the end was not written
		if err := stamps.Check(region, w, acked[w]); err != nil {
			t.Error(err)
		}
	}
}
