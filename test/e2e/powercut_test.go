package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/guest/fs/vol"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/vmtest"
)

// device shows a disk to package vol.
type device struct{ disk.Backend }

func (d device) ReadAt(b []byte, off int64) error  { return d.Backend.ReadAt([][]byte{b}, off, false) }
func (d device) WriteAt(b []byte, off int64) error { return d.Backend.WriteAt([][]byte{b}, off) }

// formatted is a disk with an empty volume on it.
func formatted(t *testing.T, size int64) *disk.Memory {
	t.Helper()
	m := disk.NewMemory(size)
	if err := vol.Format(device{m}, vol.FormatOptions{}); err != nil {
		t.Fatal(err)
	}
	return m
}

// onVolume runs a case in a machine with a volume at /v.
func onVolume(t *testing.T, d disk.Backend, mode hypercall.Mode, out *acks, args ...string) {
	t.Helper()
	g := vmtest.Guest{Args: args, Timeout: 2 * time.Minute, Config: hv.Config{
		Image: built(t, cases.image), Mode: mode, Stdout: out, Disks: []hv.Disk{{Backend: d, Path: "/v"}},
	}}
	vmtest.Expect(t, g, vmtest.Want{})
}

// acks are lines of a program's, and how much of a disk's log there was before each.
type acks struct {
	mu  sync.Mutex
	log *disk.Recorder
	at  []int
}

func (a *acks) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if n, err := strconv.Atoi(lines.Text()); err != nil || n != len(a.at) {
			return 0, fmt.Errorf("got line %q, want %d", lines.Text(), len(a.at))
		}
		a.at = append(a.at, len(a.log.Log()))
	}
	return len(b), nil
}

// before is how many lines came before the power went at a place of the log.
func (a *acks) before(cut int) (n int) {
	for n < len(a.at) && a.at[n] <= cut {
		n++
	}
	return n
}

// cutImage is what a disk may hold when the power goes after some of its log: what
// is sure, and any sectors of the rest.
func cutImage(size int64, fresh []byte, log []disk.Event, r *rand.Rand) *disk.Memory {
	m := disk.NewMemory(size)
	m.WriteAt([][]byte{fresh}, 0)
	sure, maybe := disk.Cut(log)
	for _, e := range sure {
		apply(m, e, func() bool { return true })
	}
	share := r.IntN(101)
	for _, i := range r.Perm(len(maybe)) {
		apply(m, maybe[i], func() bool { return r.IntN(100) < share })
	}
	return m
}

func apply(m *disk.Memory, e disk.Event, want func() bool) {
	const sector = 512
	for at := int64(0); at < e.Len; at += sector {
		switch {
		case !want():
		case e.Op == disk.Write:
			m.WriteAt([][]byte{e.Data[at:][:sector]}, e.Off+at)
		case e.Op == disk.Discard:
			m.Discard(e.Off+at, sector)
		case e.Op == disk.Zeroes:
			m.WriteZeroes(e.Off+at, sector)
		}
	}
}

// whole says what is wrong with a volume on which that many versions were said to
// be synced.
func whole(m *disk.Memory, acked int) error {
	var lines []string
	r, err := vol.Check(device{m}, vol.CheckOptions{Report: func(line string) { lines = append(lines, line) }})
	if err != nil || r.Damage > 0 {
		return fmt.Errorf("check: %v, %d problems\n%s", err, r.Damage, strings.Join(lines, "\n"))
	}
	v, err := vol.Mount(device{m}, vol.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	for k := range 4 {
		last := k - 4 // version of this file that is sure
		for last+4 < acked {
			last += 4
		}
		text, e := readVolume(v, fmt.Sprint("file", k))
		if e == fs.ENOENT && last < 0 {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(text, "version %d\n", &n); err != nil || e != 0 || n%4 != k || text != volumeVersion(n) {
			return fmt.Errorf("file%d: errno %d, %d bytes, %v; version %d was synced", k, e, len(text), err, last)
		}
		if n != last && n != last+4 {
			return fmt.Errorf("file%d: version %d, and %d was synced", k, n, last)
		}
	}
	return nil
}

func readVolume(v *vol.FS, name string) (string, fs.Errno) {
	h, a, e := v.Open(name, fs.O_RDONLY, 0)
	if e != 0 {
		return "", e
	}
	defer v.Close(h)
	b := make([]byte, a.Size)
	n, e := v.Read(h, b, 0)
	return string(b[:n]), e
}

// volumeVersion is what the case vol-power writes.
func volumeVersion(n int) string {
	return strings.Repeat(fmt.Sprintf("version %d\n", n), 50+n*37%4000)
}

// powerCuts runs vol-power on a disk that is recorded, and cuts its power at up to
// most places.
func powerCuts(t *testing.T, mode hypercall.Mode, seed uint64, most int, wrap func(disk.Backend) disk.Backend) (bad []error) {
	t.Helper()
	const size = 4 << 20
	m := formatted(t, size)
	fresh, rec := m.Bytes(), disk.Record(m)
	out := &acks{log: rec}
	onVolume(t, wrap(rec), mode, out, "vol-power", "/v", "24")
	log, r := rec.Log(), rand.New(rand.NewPCG(seed, uint64(mode)))
	places := r.Perm(len(log) + 1)
	t.Logf("%d events, %d lines", len(log), len(out.at))
	for _, cut := range places[:min(most, len(places))] {
		if err := whole(cutImage(size, fresh, log[:cut], r), out.before(cut)); err != nil {
			bad = append(bad, fmt.Errorf("cut after %d of %d events: %w", cut, len(log), err))
		}
	}
	if err := whole(cutImage(size, fresh, log, r), 24); err != nil {
		bad = append(bad, fmt.Errorf("at the end: %w", err))
	}
	return bad
}

func powerSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PVRUN_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("PVRUN_SEED=%d", seed)
	return seed
}

// Wherever the power goes, a volume that a program in a machine writes to is whole,
// and has every version of a file that was said to be synced, or a newer one.
func TestPowerCut(t *testing.T) {
	seed := powerSeed(t)
	for mode, most := range map[hypercall.Mode]int{hypercall.ModePV: 300, hypercall.ModeTrap: 60} {
		bad := powerCuts(t, mode, seed, most, func(d disk.Backend) disk.Backend { return d })
		if err := errors.Join(bad[:min(3, len(bad))]...); err != nil {
			t.Errorf("mode %d: %d cuts: %v", mode, len(bad), err)
		}
	}
}

// deafDisk takes flushes for done that were none.
type deafDisk struct{ disk.Backend }

func (deafDisk) Flush() error { return nil }

// The test finds a disk that does not flush.
func TestPowerCutSees(t *testing.T) {
	bad := powerCuts(t, hypercall.ModePV, powerSeed(t), 100, func(d disk.Backend) disk.Backend { return deafDisk{d} })
	if len(bad) == 0 {
		t.Error("without flushes nothing was lost")
	}
}
